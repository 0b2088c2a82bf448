// The names that cluster.cu uses, for threads of the C++ library: one a CUDA thread, with the barriers of block and cluster.
#include <algorithm>
#include <barrier>
#include <memory>
#include <thread>
#include <vector>
#define TOPS_SIMULATED
#define __global__
#define __device__
#define __host__
using std::max;
using std::min;

struct Where {
  int thread, threads, rank, entry;
  std::vector<std::vector<char>>* shared;
  std::vector<std::unique_ptr<std::barrier<>>>* block;
  std::barrier<>* cluster;
};
thread_local Where here;
#define THREAD here.thread
#define THREADS here.threads
#define RANK here.rank
#define ENTRY here.entry
#define SYNC() (*here.block)[here.rank]->arrive_and_wait()
#define CLUSTER_SYNC() here.cluster->arrive_and_wait()
#define REMOTE(pointer, rank) remote(pointer, rank)
#define NEXT(pointer) __atomic_fetch_add(pointer, 1, __ATOMIC_RELAXED)
inline char* simulated_shared() { return (*here.shared)[here.rank].data(); }
template <class T>
T* remote(T* pointer, int rank) {
  return reinterpret_cast<T*>((*here.shared)[rank].data() + (reinterpret_cast<char*>(pointer) - simulated_shared()));
}
#include CLUSTER_SOURCE

extern "C" void simulate(const int* similarity, const double* relevance, const int* covered, const long long* gain,
                         const long long* first, long long* order, double* scores, int batch, int n, int k,
                         double alpha, double lam, int threads) {
  for (int entry = 0; entry < batch; ++entry) {
    std::vector<std::vector<char>> shared(BLOCKS, std::vector<char>(tops_cluster_bytes(n, threads)));
    std::vector<std::unique_ptr<std::barrier<>>> block;
    for (int rank = 0; rank < BLOCKS; ++rank) block.push_back(std::make_unique<std::barrier<>>(threads));
    std::barrier<> cluster(BLOCKS * threads);
    std::vector<std::thread> all;
    for (int t = 0; t < BLOCKS * threads; ++t)
      all.emplace_back([&, t] {
        here = {t % threads, threads, t / threads, entry, &shared, &block, &cluster};
        tops_cluster_kernel(similarity, relevance, covered, gain, first, order, scores, n, k, alpha, lam);
      });
    for (auto& one : all) one.join();
  }
}

// TOPS' greedy with mean normalisation and all three principles: one cluster of 16 blocks runs one batch entry.
//
// Each block owns a sixteenth of the columns: their gain, relevance and whether they are left. Coverage of all tokens is
// replicated in every block, so that a step needs two cluster barriers: after the partial sums, and after the partial
// maxima. Sums of whole numbers are exact in any split; the float64 sum of relevance is a tree over the threads of a
// block and then the blocks by rank, the same at every run. Ties go to the lowest index.
//
// The same source runs on a CPU: tests/unit/simulated_cluster.h gives the names below to threads of the C++ library.

#ifndef TOPS_SIMULATED
#include <cooperative_groups.h>
#include <cuda_runtime.h>
namespace cg = cooperative_groups;
#define THREAD static_cast<int>(threadIdx.x)
#define THREADS static_cast<int>(blockDim.x)
#define RANK static_cast<int>(cg::this_cluster().block_rank())
#define ENTRY static_cast<int>(blockIdx.x / BLOCKS)
#define SYNC() __syncthreads()
#define CLUSTER_SYNC() cg::this_cluster().sync()
#define REMOTE(pointer, rank) cg::this_cluster().map_shared_rank(pointer, rank)
#define NEXT(pointer) atomicAdd(pointer, 1)
#endif

constexpr int BLOCKS = 16;
constexpr int ONE = 1 << 29;

struct Partial {
  double relevance;
  long long gain, uncovered;
  double best;
  int index;
};

// Better score, or the same at a lower index.
__device__ inline bool better(double score, int index, double than, int at) {
  return score > than || (score == than && index < at);
}

__device__ inline double over_mean(double term, double sum, double count) {
  const double mean = sum / count;
  return mean == 0.0 ? 0.0 : term / mean;
}

// Shared memory of one block, in this order: 8-byte arrays first.
__host__ __device__ inline int owned_columns(int n) { return (n + BLOCKS - 1) / BLOCKS; }

extern "C" __host__ __device__ int tops_cluster_bytes(int n, int threads) {
  return static_cast<int>(sizeof(Partial)) * (threads + 1) + 16 * owned_columns(n) + 4 * (4 * n + owned_columns(n) + 2);
}

extern "C" __global__ void tops_cluster_kernel(const int* similarity, const double* relevance, const int* covered_by_first,
                                               const long long* first_gain, const long long* first, long long* order,
                                               double* scores, int n, int k, double alpha, double lam) {
#ifndef TOPS_SIMULATED
  extern __shared__ __align__(16) char shared[];
#else
  char* shared = simulated_shared();
#endif
  const int own = owned_columns(n), begin = RANK * own, size = max(0, min(own, n - begin));
  Partial* part = reinterpret_cast<Partial*>(shared);  // of this block, read by the others
  Partial* tree = part + 1;                            // of each thread
  double* relevant = reinterpret_cast<double*>(tree + THREADS);
  long long* gain = reinterpret_cast<long long*>(relevant + own);
  int* covered = reinterpret_cast<int*>(gain + own);
  int* changed = covered + n;
  int* before = changed + n;
  int* after = before + n;
  int* left = after + n;
  int* count = left + own;

  similarity += static_cast<long long>(ENTRY) * n * n;
  relevance += static_cast<long long>(ENTRY) * n;
  for (int j = THREAD; j < n; j += THREADS) covered[j] = covered_by_first[static_cast<long long>(ENTRY) * n + j];
  for (int c = THREAD; c < size; c += THREADS) {
    relevant[c] = relevance[begin + c];
    gain[c] = first_gain[static_cast<long long>(ENTRY) * n + begin + c];
    left[c] = 1;
  }
  int chosen = static_cast<int>(first[ENTRY]);
  if (RANK == 0 && THREAD == 0) {
    order[static_cast<long long>(ENTRY) * k] = chosen;
    scores[static_cast<long long>(ENTRY) * k] = relevance[chosen];
  }
  SYNC();
  if (THREAD == 0 && chosen >= begin && chosen < begin + size) left[chosen - begin] = 0;
  SYNC();

  for (int step = 1; step < k; ++step) {
    Partial mine = {0.0, 0, 0, 0.0, 0};
    for (int c = THREAD; c < size; c += THREADS)
      if (left[c]) {
        mine.relevance += relevant[c];
        mine.gain += gain[c];
        mine.uncovered += ONE - covered[begin + c];
      }
    tree[THREAD] = mine;
    for (int half = THREADS / 2; half; half /= 2) {
      SYNC();
      if (THREAD < half) {
        tree[THREAD].relevance += tree[THREAD + half].relevance;
        tree[THREAD].gain += tree[THREAD + half].gain;
        tree[THREAD].uncovered += tree[THREAD + half].uncovered;
      }
    }
    if (THREAD == 0) {
      part->relevance = tree[0].relevance;
      part->gain = tree[0].gain;
      part->uncovered = tree[0].uncovered;
    }
    CLUSTER_SYNC();
    double sum = 0.0;
    long long gains = 0, uncovered = 0;
    for (int rank = 0; rank < BLOCKS; ++rank) {
      const Partial* other = REMOTE(part, rank);
      sum += other->relevance;
      gains += other->gain;
      uncovered += other->uncovered;
    }
    mine.best = -1.0;  // below every score but that of a padding column
    mine.index = n;
    bool any = false;
    const double remain = n - step;
    for (int c = THREAD; c < size; c += THREADS) {
      if (!left[c]) continue;
      double score = over_mean(relevant[c], sum, remain);
      score += over_mean(static_cast<double>(gain[c]), static_cast<double>(gains), remain) * lam;
      score += over_mean(static_cast<double>(ONE - covered[begin + c]), static_cast<double>(uncovered), remain) * alpha;
      if (!any || better(score, begin + c, mine.best, mine.index)) {
        mine.best = score;
        mine.index = begin + c;
        any = true;
      }
    }
    tree[THREAD].best = mine.best;
    tree[THREAD].index = mine.index;
    for (int half = THREADS / 2; half; half /= 2) {
      SYNC();
      if (THREAD < half) {
        const Partial& other = tree[THREAD + half];
        const bool take = other.index < n && (tree[THREAD].index >= n || better(other.best, other.index,
                                                                               tree[THREAD].best, tree[THREAD].index));
        if (take) {
          tree[THREAD].best = other.best;
          tree[THREAD].index = other.index;
        }
      }
    }
    if (THREAD == 0) {
      part->best = tree[0].best;
      part->index = tree[0].index;
      *count = 0;
    }
    CLUSTER_SYNC();
    double best = 0.0;
    chosen = n;
    for (int rank = 0; rank < BLOCKS; ++rank) {
      const Partial* other = REMOTE(part, rank);
      if (other->index < n && (chosen == n || better(other->best, other->index, best, chosen))) {
        best = other->best;
        chosen = other->index;
      }
    }
    if (RANK == 0 && THREAD == 0) {
      order[static_cast<long long>(ENTRY) * k + step] = chosen;
      scores[static_cast<long long>(ENTRY) * k + step] = best;
    }
    // Rows that the new token changes; every block keeps its own list of them.
    const int* row = similarity + static_cast<long long>(chosen) * n;
    for (int j = THREAD; j < n; j += THREADS) {
      const int now = row[j], was = covered[j];
      if (now > was) {
        const int place = NEXT(count);
        changed[place] = j;
        before[place] = was;
        after[place] = now;
        covered[j] = now;
      }
    }
    SYNC();
    const int rows = *count;
    for (int c = THREAD; c < size; c += THREADS) {
      long long lost = 0;
      for (int place = 0; place < rows; ++place) {
        const int value = similarity[static_cast<long long>(changed[place]) * n + begin + c];
        lost += min(max(value, before[place]), after[place]) - before[place];
      }
      gain[c] -= lost;
      if (begin + c == chosen) left[c] = 0;
    }
    SYNC();
  }
  CLUSTER_SYNC();  // no block ends while another may read its shared memory
}

#ifndef TOPS_SIMULATED
// Returns a cudaError_t: 0 when the launch was accepted. `stream` is the stream of the arrays.
extern "C" int tops_cluster_launch(const int* similarity, const double* relevance, const int* covered,
                                   const long long* gain, const long long* first, long long* order, double* scores,
                                   int batch, int n, int k, double alpha, double lam, int threads, void* stream) {
  const int bytes = tops_cluster_bytes(n, threads);
  cudaError_t error = cudaFuncSetAttribute(tops_cluster_kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
  if (error == cudaSuccess)
    error = cudaFuncSetAttribute(tops_cluster_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  if (error != cudaSuccess) return error;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(batch * BLOCKS);
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = bytes;
  config.stream = static_cast<cudaStream_t>(stream);
  cudaLaunchAttribute cluster = {};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim.x = BLOCKS;
  cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
  config.attrs = &cluster;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, tops_cluster_kernel, similarity, relevance, covered, gain, first, order, scores, n,
                            k, alpha, lam);
}
#endif

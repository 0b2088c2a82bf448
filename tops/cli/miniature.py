"""``tops miniature``: build the data, print what the models score on it, write contact sheets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tops.errors import ConfigurationError, nearest_names

if TYPE_CHECKING:
    from tops.miniature.scores import Scored


def main(argv: list[str]) -> int:
    """Run one of the actions; exit status 0 when all went well."""
    parser = argparse.ArgumentParser(prog="tops miniature", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    build = actions.add_parser("build", help="build the data of all benchmarks, or check what is there")
    sheets = actions.add_parser("sheets", help="write one contact sheet per benchmark")
    sheets.add_argument("benchmarks", nargs="*", help="which; all when none is named")
    sheets.add_argument("--documents", type=int, default=24, help="documents per page (default: 24; 0 for all)")
    sheets.add_argument("--results", type=Path, default=Path("results"), help="result store with replies")
    sheets.add_argument("--out", type=Path, default=Path("reports/miniature/sheets"), help="folder for the pages")
    table = actions.add_parser("table", help="documents, unpruned score, blind score and chance per benchmark")
    card = actions.add_parser("card", help="write the scores of complete runs into the model card")
    for action in (table, card):
        action.add_argument("family", nargs="?", default="llava-1.5", help="miniature checkpoint (default: llava-1.5)")
        action.add_argument("--results", type=Path, default=Path("results"), help="result store with the runs")
    for action in (build, sheets):
        action.add_argument("--cache", type=Path, help="folder of caches (default: $TOPS_CACHE or ~/.cache/tops)")
        action.add_argument("--seed", type=int, default=0, help="seed of the data (default: 0)")
    options = parser.parse_args(argv)
    chosen = {"build": _build, "sheets": _sheets, "table": _table, "card": _card}[options.action]
    return chosen(options)


def _build(options: argparse.Namespace) -> int:
    from tops.miniature.data import ensure

    data = ensure(options.cache, options.seed)
    print(f"{data.root}\nversion {data.version}, sha256 {data.sha256}\n")
    print(f"{'benchmark':<16}{'documents':>10}{'chance':>9}  sha256")
    for name, entry in data.manifest["benchmarks"].items():
        print(f"{entry['title']:<16}{entry['documents']:>10}{entry['chance']:>9.2f}  {data.hash_of(name)[:12]}")
    return 0


def _sheets(options: argparse.Namespace) -> int:
    from tops.benchmarks.data import data_hash
    from tops.miniature.benchmarks import BENCHMARKS
    from tops.miniature.contact_sheet import unpruned_runs, write_sheet
    from tops.miniature.data import ensure
    from tops.store.store import Store

    for name in options.benchmarks:
        if name not in BENCHMARKS:
            raise ConfigurationError(f"no miniature benchmark {name!r}. {nearest_names(name, BENCHMARKS)}")
    if options.documents < 0:
        raise ConfigurationError(f"--documents is {options.documents}; it must be 0 (all) or more")
    data = ensure(options.cache, options.seed)
    hashes = {name: data_hash(name, data) for name in options.benchmarks or BENCHMARKS}
    runs = unpruned_runs(Store(options.results, "miniature"), hashes)
    for name in options.benchmarks or BENCHMARKS:
        print(write_sheet(data, name, options.out, options.documents or None, runs.get(name)))
    return 0


def _score(family: str, results: Path) -> dict[str, Scored]:
    """Scores of the present weights on the present documents: those of the store, else those of the card."""
    from tops.miniature.benchmarks import BENCHMARKS
    from tops.miniature.scores import card_scores, stored_scores
    from tops.planning import staging
    from tops.settings.choices import load_profile
    from tops.store.store import Store

    profile = load_profile("miniature")
    staging.prepare(profile)
    data = {name: staging.data(name, profile) for name in BENCHMARKS}
    revision = staging.miniature(family).revision
    stored = stored_scores(Store(results, "miniature"), family, revision, data)
    return card_scores(family, revision, data) | stored


def _table(options: argparse.Namespace) -> int:
    from tops.miniature import checkpoints
    from tops.miniature.benchmarks import BENCHMARKS
    from tops.miniature.data import ensure
    from tops.miniature.scores import IMAGES_ONLY, table

    scores = _score(options.family, options.results)
    print(f"miniature {options.family}\n")
    described = ensure().manifest["benchmarks"]
    if options.family in IMAGES_ONLY:
        described = {name: entry for name, entry in described.items() if not BENCHMARKS[name].data.videos}
    print("\n".join(table(described, scores, checkpoints.label(options.family))))
    return 0


def _card(options: argparse.Namespace) -> int:
    from tops.miniature.scores import write_card_scores

    print(write_card_scores(options.family, _score(options.family, options.results)))
    return 0

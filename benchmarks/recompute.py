"""Computes every figure of a sweep's report again from its Parquet files, without sweeper, and lists what differs.

    python benchmarks/recompute.py results/SWEEP      compares with `sweep report results/SWEEP --format json`

It reads `sweep.yaml` and the files of `trials/` and `predictions/` with pandas, and computes with numpy and scipy what the docstrings of
`sweeper/report/summary.py` say. Every number is compared to a relative 1e-6; the chance to find a difference, which sweeper gives as
about, to 0.01. Sentences, warnings and versions are not computed again. Sweeps of several searches and of one are understood, confirmed on
accuracy; not repeated failed trials.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from scipy import stats

BY_CLASS = ("balanced_accuracy", "macro_f1", "top5_accuracy", "worst_class_accuracy")
MEASURES = ("loss", "accuracy", "nll", "brier", "ece", *BY_CLASS, "nll_scaled", "brier_scaled", "ece_scaled")
MOST = {"accuracy": 1.0, "ece": 1.0, "ece_scaled": 1.0, "brier": 2.0, "brier_scaled": 2.0, **dict.fromkeys(BY_CLASS, 1.0)}
MOST_PERMUTATIONS = 20_000
NOT_COMPUTED = {
    "sentence", "method", "warnings", "skipped_files", "hardware", "versions", "started_at", "sweep", "name", "dataset", "evaluate_on",
    "compared", "by", "groups", "reference", "parameters", "metric", "measure", "comparable", "unit",
}  # fmt: skip


def interval(mean: float, error: float, freedom: float, level: float, least: float, most: float) -> tuple[float, float]:
    """Student's t interval, cut at what is possible."""
    half = stats.t.ppf((1 + level) / 2, freedom) * error
    return max(least, mean - half), min(most, mean + half)


def spread(figures: np.ndarray, found: Sequence[Any]) -> tuple[float, float, int]:
    """Variance of one figure, its share in the variance of the mean, degrees of freedom; figures that are alike in ``found`` are one."""
    groups = pd.Series(figures).groupby(found)
    values, weights = groups.mean().to_numpy(), groups.size().to_numpy() / len(figures)
    share = float((weights**2).sum())
    if len(values) == 1:
        return 0.0, share, 0
    mean = float((weights * values).sum())
    return float((weights * (values - mean) ** 2).sum()) / (1 - share), share, len(values) - 1


def figures_by_class(rows: pd.DataFrame) -> dict[str, float]:
    """The figures of :data:`BY_CLASS` from the logits of one network on the test split."""
    names = logit_columns(rows)
    logits, labels = rows[names].to_numpy(np.float32), rows["label"].to_numpy()
    given = logits.argmax(axis=1)
    recalls = [float((given[labels == label] == label).mean()) for label in sorted(set(labels))]
    f1 = []
    for label in sorted({*labels, *given}):
        right = ((labels == label) & (given == label)).sum()
        precision, recall = (right / max(1, (found == label).sum()) for found in (given, labels))
        f1.append(2 * precision * recall / (precision + recall) if right else 0.0)
    order = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    top5 = float((order == labels[:, None]).any(axis=1).mean()) if len(names) > 5 else math.nan
    return dict(zip(BY_CLASS, (float(np.mean(recalls)), float(np.mean(f1)), top5, min(recalls)), strict=True))


def logit_columns(rows: pd.DataFrame) -> list[str]:
    """The columns of logits in the order of the classes."""
    return sorted((name for name in rows if name.startswith("logit_")), key=lambda name: int(name[6:]))


class Sweep:
    """The files of one sweep."""

    def __init__(self, folder: Path) -> None:
        self.space = yaml.safe_load((folder / "sweep.yaml").read_text())
        self.trials = pd.concat(pd.read_parquet(path) for path in sorted((folder / "trials").glob("*.parquet")))
        if "search" not in self.trials:
            self.trials["search"] = 1
        self.trials = self.trials.sort_values(["search", "number"])
        paths = sorted((folder / "predictions").glob("*.parquet"))
        self.logits = pd.concat(pd.read_parquet(path) for path in paths) if paths else pd.DataFrame()
        if "test_macro_f1" not in self.trials:  # a version without these metrics wrote it
            test = self.logits[self.logits["split"] == "test"] if paths else self.logits
            found = {trial: figures_by_class(rows) for trial, rows in test.groupby("trial")} if paths else {}
            for name in BY_CLASS:
                self.trials[f"test_{name}"] = self.trials["trial"].map({trial: figures[name] for trial, figures in found.items()})
        provenance = json.loads((folder / "provenance.json").read_text())
        self.classes = provenance["dataset"]["classes"]
        self.n_searches = int(self.space["compare"].get("searches", 1))
        self.epochs = int(self.space["training"]["epochs"])
        self.arms = list(dict.fromkeys(self.trials[self.trials["phase"] == "search"].sort_values(["search", "number"])["arm"]))
        choices = self.space["parameters"][self.space["compare"]["arms"]]["choices"]
        self.arms.sort(key=[choice["name"] if isinstance(choice, dict) else str(choice) for choice in choices].index)
        self.unit = "search" if self.n_searches > 1 else "seed"

    def rows(self, arm: str, phase: str, search: int | None = None) -> pd.DataFrame:
        rows = self.trials[(self.trials["arm"] == arm) & (self.trials["phase"] == phase)]
        return rows if search is None else rows[rows["search"] == search]

    def cost(self, rows: pd.DataFrame, planned: int) -> dict[str, Any]:
        ends = {state: int((rows["state"] == state).sum()) for state in ("complete", "pruned", "failed", "diverged")}
        pruned = rows[rows["state"] == "pruned"]
        saved = float((self.epochs - pruned["epochs"]).sum()) / (len(rows) * self.epochs) if len(rows) else None
        return {
            "planned": planned,
            "ends": ends,
            "epochs": int(rows["epochs"].sum()),
            "seconds": float(rows["train_seconds"].sum()),
            "saved": saved,
        }

    def pick(self, rows: pd.DataFrame) -> dict[str, Any] | None:
        complete = rows[(rows["state"] == "complete") & np.isfinite(rows["value"].astype(float))]
        if complete.empty:
            return None
        best = complete.loc[complete["value"] == complete["value"].max()].iloc[0]
        names = ("trial", "number", "value", "epochs", "search")
        pick = {name: best[name].item() if hasattr(best[name], "item") else best[name] for name in names}
        return {**pick, "configuration": str(best.filter(like="param_").to_dict())}

    def confirmed(self, arm: str, search: int) -> pd.DataFrame:
        rows = self.rows(arm, "confirm", search)
        rows = rows[(rows["state"] == "complete") & np.isfinite(rows["test_accuracy"].astype(float))]
        return rows.drop_duplicates("seed", keep="last").sort_values("seed").set_index("seed")

    def values(self, arm: str, search: int) -> dict[str, list[float]]:
        rows = self.confirmed(arm, search)
        return {name: [float(value) for value in rows[name]] for name in [*(f"test_{each}" for each in MEASURES), "temperature"]}

    def means(self, arm: str, search: int) -> dict[str, float]:
        found = {}
        for name, values in self.values(arm, search).items():
            at_bound = name == "temperature" and any(value in (0.01, 100.0) for value in values)
            if values and np.isfinite(values).all() and not at_bound:
                found[name] = float(np.mean(values))
        return found


def searches_of(sweep: Sweep, arm: str) -> list[dict[str, Any]]:
    """What the report says of each search of an arm."""
    compare, found = sweep.space["compare"], []
    for search in range(1, sweep.n_searches + 1):
        rows = sweep.rows(arm, "search", search)
        pick = sweep.pick(rows)
        values = sweep.values(arm, search)
        n_seeds = int(compare["seeds"]) if pick else 0
        found.append(
            {
                "number": search,
                "search": sweep.cost(rows, int(compare["trials_per_arm"])),
                "confirm": sweep.cost(sweep.rows(arm, "confirm", search), n_seeds),
                "pick": pick,
                "seeds": [int(seed) for seed in sweep.confirmed(arm, search).index],
                "values": values if any(values.values()) else {},
                "means": sweep.means(arm, search),
            }
        )
    return found


def configurations(searches: list[dict[str, Any]], name: str, seeds: set[int]) -> list[str]:
    """What each search found: its configuration, and the figures of that."""
    tables = [dict(zip(each["seeds"], each["values"][name], strict=True)) for each in searches]
    figures = [[table[seed] for seed in sorted(seeds)] for table in tables]
    return [f"{each['pick']['configuration']} {row}" for each, row in zip(searches, figures, strict=True)]


def estimate(figures: list[float], unit: str, most: float, found: list[str]) -> dict[str, Any]:
    """Mean over units with its interval."""
    values, n = np.array(figures), len(figures)
    variance, share, freedom = (
        spread(values, found) if unit == "search" else (float(np.var(values, ddof=1)) if n > 1 else 0.0, 1 / n, n - 1)
    )
    mean = float(values.mean())
    if freedom < 1:
        return {"n": n, "mean": mean, "sd": None, "low": None, "high": None}
    low, high = interval(mean, math.sqrt(variance * share), freedom, 0.95, 0.0 if most < math.inf else -math.inf, most)
    return {"n": n, "mean": mean, "sd": math.sqrt(variance), "low": low, "high": high}


def permutation_p(first: np.ndarray, second: np.ndarray) -> tuple[float, int]:
    """Two-sided p of the permutation of labels, and the number of permutations."""
    pooled, n = np.concatenate([first, second]), len(first)
    if math.comb(len(pooled), n) <= MOST_PERMUTATIONS:
        choices = [list(chosen) for chosen in itertools.combinations(range(len(pooled)), n)]
    else:
        rows = np.tile(np.arange(len(pooled)), (MOST_PERMUTATIONS, 1))
        choices = np.random.default_rng(0).permuted(rows, axis=1)[:, :n].tolist()
        choices[0] = list(range(n))
    total = pooled.sum()
    gaps = [abs(pooled[chosen].sum() / n - (total - pooled[chosen].sum()) / (len(pooled) - n)) for chosen in choices]
    return float(np.mean(np.array(gaps) >= gaps[0] - 1e-12)), len(choices)


def sign_flip_p(differences: np.ndarray) -> tuple[float, int]:
    """Two-sided p of sign flips, and the number of patterns; exact only."""
    signs = np.array(list(itertools.product([1, -1], repeat=len(differences))))
    sums = np.abs(signs @ differences)
    return float(np.mean(sums >= sums[0] - 1e-12)), len(signs)


def contrast(best: np.ndarray, rival: np.ndarray, unit: str, margin: float, n_arms: int, found: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """The best arm against a rival; ``found``: what their searches found."""
    if unit == "search":
        (v1, s1, f1), (v2, s2, f2) = spread(best, found[0]), spread(rival, found[1])
        parts = [(v * s, f) for v, s, f in ((v1, s1, f1), (v2, s2, f2)) if f]
        error = math.sqrt(sum(each for each, _ in parts)) if len(parts) == 2 else math.sqrt(max(v1, v2) * (s1 + s2))
        freedom = sum(each for each, _ in parts) ** 2 / sum(each**2 / f for each, f in parts) if len(parts) == 2 else parts[0][1]
        mean, gaps = float(rival.mean() - best.mean()), np.subtract.outer(best, rival).ravel()
        sd = error / math.sqrt(1 / len(best) + 1 / len(rival))
        p_value, n_permutations = permutation_p(best, rival)
    else:
        gaps, mean = best - rival, float((rival - best).mean())
        sd = float(np.std(gaps, ddof=1))
        error, freedom = sd / math.sqrt(len(gaps)), len(gaps) - 1
        p_value, n_permutations = sign_flip_p(gaps)
    low, high = interval(mean, error, freedom, 0.95, -1, 1)
    equal_low, equal_high = interval(mean, error, freedom, 0.90, -1, 1)
    sd_low, sd_high = (sd * math.sqrt(freedom / stats.chi2.ppf(q, freedom)) for q in (0.975, 0.025))
    is_better = mean < 0 and p_value <= 0.05 and high < 0
    is_equal = -margin <= equal_low and equal_high <= margin
    n_pairs = n_arms * (n_arms - 1) // 2
    t_p = 2 * stats.t.sf(abs(mean) / error, freedom)
    return {
        "unit": unit,
        "n_best": len(best),
        "n_rival": len(rival),
        "difference": {"n": min(len(best), len(rival)), "mean": mean, "sd": sd, "low": low, "high": high},
        "sd_low": sd_low,
        "sd_high": sd_high,
        "equal_low": equal_low,
        "equal_high": equal_high,
        "freedom": freedom,
        "n_permutations": n_permutations,
        "p_value": p_value,
        "p_best_wins": float(np.mean((gaps > 0) + 0.5 * (gaps == 0))),
        "outcome": "better" if is_better else "equal" if is_equal else "undecided",
        "behind": bool(mean < 0 and n_pairs * t_p <= 0.05 and (gaps.min() > 0 or n_pairs * p_value <= 0.05)),
    }


def chance(difference: float, sd: float, n_best: int, n_rival: int, unit: str) -> float:
    """The chance that the test finds a difference, by the noncentral t distribution."""
    if unit == "search":
        n, alike = math.comb(n_best + n_rival, n_best), 2 if n_best == n_rival else 1
        error, freedom = sd * math.sqrt(1 / n_best + 1 / n_rival), n_best + n_rival - 2
    else:
        n, alike, error, freedom = 2**n_best, 2, sd / math.sqrt(n_best), n_best - 1
    level = math.floor(0.05 * n / alike) * alike / n
    return float(stats.nct.sf(stats.t.ppf(1 - level / 2, freedom), freedom, difference / error)) if level else 0.0


def recalls_and_image_error(sweep: Sweep, arm: str) -> tuple[dict[str, Any], float | None]:
    """Recall of each class with its interval, mean over searches or seeds, and the standard error of the accuracy over test images."""
    if sweep.logits.empty:
        return {}, None
    test = sweep.logits[(sweep.logits["arm"] == arm) & (sweep.logits["split"] == "test")]
    right = test[logit_columns(test)].to_numpy(np.float32).argmax(axis=1) == test["label"].to_numpy()
    table = test.assign(right=right.astype(float))
    recalls = {
        sweep.classes[label]: recall(rows.pivot_table(index=sweep.unit, columns="image", values="right"))
        for label, rows in table.groupby("label")
    }
    shares = table.groupby("image")["right"].mean()
    return recalls, float(shares.std(ddof=1) / math.sqrt(len(shares)))


def recall(shares: pd.DataFrame) -> dict[str, float]:
    """Mean of a table of units (rows) and images (columns) with the Wilson interval of as many images as have its standard error."""
    p, n = float(shares.to_numpy().mean()), shares.shape[1]
    squared = [
        (float(means.var(ddof=1)) / len(means), len(means) - 1) for means in (shares.mean(axis=1), shares.mean(axis=0)) if len(means) > 1
    ]
    total = math.fsum(part for part, _ in squared)
    freedom = total**2 / math.fsum(part**2 / each for part, each in squared) if total else n - 1
    t = float(stats.t.ppf(0.975, freedom))
    alike = p * (1 - p) / total if total else n
    half = t / (1 + t**2 / alike) * math.sqrt(p * (1 - p) / alike + (t / (2 * alike)) ** 2)
    middle = (p + t**2 / (2 * alike)) / (1 + t**2 / alike)
    return {"n_images": n, "mean": p, "low": max(0.0, middle - half), "high": min(1.0, middle + half)}


def comparison(sweep: Sweep, searches: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The confirm phase."""
    margin = float(sweep.space["compare"].get("margin", 0.5)) / 100
    order = sorted(
        searches, key=lambda arm: -np.mean([each["means"]["test_accuracy"] for each in searches[arm] if "test_accuracy" in each["means"]])
    )
    arms = []
    for arm in order:
        found = [each for each in searches[arm] if each["seeds"]]
        measures, own_seeds = {}, set.intersection(*(set(each["seeds"]) for each in found))
        for name in found[0]["values"]:
            if all(name in each["means"] for each in found):
                figures = [each["means"][name] for each in found] if sweep.unit == "search" else found[0]["values"][name]
                most = MOST.get(name.removeprefix("test_"), math.inf)
                measures[name] = estimate(figures, sweep.unit, most, configurations(found, name, own_seeds))
        common = set.intersection(*(set(each["seeds"]) for name in (order[0], arm) for each in searches[name] if each["seeds"]))
        accuracies = np.array([value for each in found for value in each["values"]["test_accuracy"]])
        chance_level, middle = 1 / len(sweep.classes), float(np.median(accuracies))
        at_chance = [(value - chance_level) / (1 - chance_level) < 0.02 for value in (*accuracies, middle, accuracies.mean())]
        low = [value < middle - 0.1 or guess for value, guess in zip(accuracies, at_chance, strict=False)]
        per_class, image_error = recalls_and_image_error(sweep, arm)
        samples, picks = [], []
        for name in (order[0], arm):
            picks.append(configurations([each for each in searches[name] if each["seeds"]], "test_accuracy", common))
            tables = [dict(zip(each["seeds"], each["values"]["test_accuracy"], strict=True)) for each in searches[name] if each["seeds"]]
            by_seed = np.array([[table[seed] for seed in sorted(common)] for table in tables])
            samples.append(by_seed.mean(axis=1) if sweep.unit == "search" else by_seed[0])
        arms.append(
            {
                "arm": arm,
                "measures": measures,
                "per_class": per_class,
                "image_error": image_error,
                "at_chance": at_chance[-1],
                "confirmed": len(accuracies),
                "collapsed": 0 if at_chance[-2] else sum(low),
                "common_seeds": sorted(common),
                "contrast": contrast(*samples, sweep.unit, margin, len(order), picks) if arm != order[0] else None,
            }
        )
    second = arms[1]["contrast"]
    power = [
        {
            "difference": each,
            **{
                name: chance(each, sd, second["n_best"], second["n_rival"], sweep.unit)
                for name, sd in (("power", second["difference"]["sd"]), ("low", second["sd_high"]), ("high", second["sd_low"]))
            },
        }
        for each in (0.005, 0.01, 0.02)
    ]
    return {"needed": 4 if sweep.unit == "search" else 6, "margin": margin, "arms": arms, "power": power}


def budget(sweep: Sweep, report: dict[str, Any]) -> dict[str, Any] | None:
    """The curves, and from which number of trials on the winner is ahead."""
    searched = sweep.trials[sweep.trials["phase"] == "search"]
    if searched["test_accuracy"].isna().all():
        return None
    curves = []
    for arm, search in itertools.product(sweep.arms, range(1, sweep.n_searches + 1)):
        rows = sweep.rows(arm, "search", search)
        rows = rows[rows["state"] != "failed"]
        picks = [sweep.pick(rows.iloc[:n]) for n in range(1, len(rows) + 1)]
        tests = rows.set_index("trial")["test_accuracy"]
        curves.append(
            {
                "arm": arm,
                "search": search,
                "picks": [pick["trial"] if pick else None for pick in picks],
                "values": [float(tests[pick["trial"]]) if pick else None for pick in picks],
                "epochs": [int(each) for each in rows["epochs"].cumsum()],
            }
        )
    n_trials = max(len(curve["values"]) for curve in curves)
    padded = {arm: [] for arm in sweep.arms}
    for curve in curves:
        values = [math.nan if value is None else value for value in curve["values"]]
        padded[curve["arm"]].append(values + [values[-1]] * (n_trials - len(values)))
    tables = {arm: np.array(rows) for arm, rows in padded.items()}
    at = []
    for n in range(1, n_trials + 1):
        spans = {
            arm: [float(np.median(table[:, n - 1])), float(table[:, n - 1].min()), float(table[:, n - 1].max())]
            if np.isfinite(table[:, n - 1]).all()
            else None
            for arm, table in tables.items()
        }
        at.append(
            {"n": n, "epochs": float(np.mean([curve["epochs"][min(n, len(curve["epochs"])) - 1] for curve in curves])), "spans": spans}
        )
    best, first = report["verdict"]["best"], None
    if report["verdict"]["kind"] == "better" and sweep.n_searches > 1:
        for n in range(n_trials, 0, -1):
            columns = {arm: table[:, n - 1] for arm, table in tables.items()}
            if not all(np.isfinite(column).all() for column in columns.values()):
                break
            rivals = [arm for arm in sweep.arms if arm != best]
            own = (range(sweep.n_searches), range(sweep.n_searches))  # each trial has a seed of its own
            if any(contrast(columns[best], columns[arm], "search", 0.0, len(columns), own)["outcome"] != "better" for arm in rivals):
                break
            first = n
    return {"n_trials": n_trials, "curves": curves, "at": at, "ahead": best if first else None, "ahead_from": first}


def verdict(found: dict[str, Any]) -> dict[str, Any]:
    """What kind of verdict the outcomes make."""
    best, *rivals = found["arms"]
    outcomes = {arm["contrast"]["outcome"] for arm in rivals}
    kind = "undecided" if "undecided" in outcomes else "equal" if "equal" in outcomes else "better"
    return {"kind": kind, "best": best["arm"]}


def total(costs: list[dict[str, Any]], epochs: int) -> dict[str, Any]:
    """The costs of all searches of an arm."""
    ends = {state: sum(cost["ends"][state] for cost in costs) for state in costs[0]["ends"]}
    n = sum(ends.values())
    spared = sum((cost["saved"] or 0.0) * sum(cost["ends"].values()) * epochs for cost in costs)
    return {
        "planned": sum(cost["planned"] for cost in costs),
        "ends": ends,
        "epochs": sum(cost["epochs"] for cost in costs),
        "seconds": sum(cost["seconds"] for cost in costs),
        "saved": spared / (n * epochs) if n else None,
    }


def differences(expected: Any, found: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every number of ``found``, with what was expected at its place; ``None`` twice for what differs in shape."""
    name = place.rpartition(".")[2]
    if name in NOT_COMPUTED:
        return
    if isinstance(found, dict):
        for key, value in found.items():
            yield from differences(expected.get(key) if isinstance(expected, dict) else None, value, f"{place}.{key}")
    elif isinstance(found, list):
        same = isinstance(expected, list) and len(expected) == len(found)
        for index, value in enumerate(found):
            yield from differences(expected[index] if same else None, value, f"{place}[{index}]")
    else:
        yield place, expected, found


def is_close(place: str, expected: Any, found: Any) -> bool:
    """Whether a figure is what was computed."""
    if not isinstance(found, float) or not isinstance(expected, int | float):
        return bool(expected == found)
    if ".power[" in place:
        return abs(expected - found) <= 0.01
    return math.isclose(expected, found, rel_tol=1e-6, abs_tol=1e-9)


def main() -> int:
    """Compare one sweep's report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path)
    folder = parser.parse_args().sweep
    command = [sys.executable, "-m", "sweeper", "report", str(folder), "--format", "json"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["sweeps"][0]
    sweep = Sweep(folder)
    searches = {arm: searches_of(sweep, arm) for arm in sweep.arms}
    compared = comparison(sweep, searches)
    arms = []
    for arm, found in searches.items():
        picks = [each["pick"] for each in found if each["pick"]]
        best = max(picks, key=lambda pick: (pick["value"], -pick["search"])) if picks else None
        costs = {phase: total([each[phase] for each in found], sweep.epochs) for phase in ("search", "confirm")}
        arms.append({"arm": arm, **costs, "best": best, "searches": found})
    expected = {
        "epochs_per_trial": sweep.epochs,
        "planned_trials": sum(arm["search"]["planned"] + arm["confirm"]["planned"] for arm in arms),
        "finished_trials": len(sweep.trials),
        "verdict": verdict(compared),
        "comparison": compared,
        "arms": arms,
        "budget": budget(sweep, report),
    }
    report["verdict"] = {name: report["verdict"][name] for name in ("kind", "best")}
    figures = list(differences(expected, report))
    wrong = [(place, ours, theirs) for place, ours, theirs in figures if not is_close(place, ours, theirs)]
    for place, ours, theirs in wrong:
        print(f"{place[1:]}: computed {ours}, reported {theirs}")
    print(f"{folder.name}: {len(figures):,} figures compared, {len(wrong):,} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

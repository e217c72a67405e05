"""The columns of result tables: names and headings from the code, with what each one is."""

from pages import code, table

from plastibench.analysis.tables.columns import COLUMNS, STYLES

MEANINGS = {
    "method": "the method, and what tells its variants apart",
    "n": "runs in the averages, and how many diverged",
    "last_accuracy": "test accuracy after the last stage: mean +- standard deviation over seeds",
    "average_accuracy": "test accuracy averaged over all stages: mean +- standard deviation over seeds",
    "gain_over_baseline": "average accuracy minus the baseline's, paired by seed, with its 95 % interval; "
    "bold: supported by the sign-flip test after Holm's correction",
    "p_vs_baseline": "that test's p, corrected",
    "gain_over_cost_reference": "the same to the cost reference",
    "p_vs_cost_reference": "the same to the cost reference",
    "noninferior_to_cost_reference": "whether the average is not worse by more than 0.5 points, with p",
    "steps": "updates of the weights",
    "samples": "training examples drawn for these updates",
    "passes": "examples passed forward and backward, by training and by the method",
    "remedy_passes": "those by the method itself",
    "relative_steps": "steps, divided by the reference's",
    "relative_passes": "passes, divided by the reference's",
    "cost_to_match": "passes until the mean accuracy reaches the reference's last one, divided by its passes",
    "flops": "matrix products, convolutions and attention of training and of the method, in 1e12 operations",
    "evaluation_flops": "the same of evaluation",
    "relative_flops": "FLOPs, divided by the reference's",
    "seconds": "of training, of the method and of evaluation, on the hardware named below the table",
    "train_seconds": "of training",
    "remedy_seconds": "of the method between stages",
    "evaluation_seconds": "of evaluation",
    "relative_seconds": "seconds, divided by the reference's on the same hardware",
    "peak_memory": "highest number of bytes allocated on the device, in 1e6",
    "relative_peak_memory": "peak memory, divided by the reference's on the same hardware",
    "energy": "by the hardware's own counter, in 1,000 joules",
    "relative_energy": "energy, divided by the reference's on the same hardware",
    "tuning_passes": "passes of all trials of the study that chose the row's settings, pruned and failed "
    "ones too; empty for settings that no tuning chose",
    "tuning_flops": "FLOPs of these trials, in 1e12 operations",
    "tuning_seconds": "seconds of these trials, on the machine that tuned",
    "verified": "how many runs of the row were run again with the same numbers, if any was",
    "paper_last_accuracy": "as in table 1 of the DASH paper: population standard deviation in parentheses",
    "paper_last_steps": "steps of the last stage, truncated to whole numbers",
    "paper_average_accuracy": "averaged over all stages",
    "paper_average_steps": "averaged over all stages, truncated to whole numbers",
}


def page() -> str:
    """Return a table of all columns. Raises KeyError for a column without a meaning here."""
    references = {"baseline": "BASELINE", "cost_reference": "REFERENCE"}
    rows = [
        [code(name), column.header.format(**references), _styles(name), MEANINGS[name]]
        for name, column in COLUMNS.items()
    ]
    return table(["name", "heading", "styles", "meaning"], rows)


def _styles(name: str) -> str:
    return ", ".join(style for style, names in STYLES.items() if name in names)

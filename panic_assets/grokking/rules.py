"""Rules that the rows of grokking runs must obey beyond their schemas. Each query counts the rows that do not."""

from panic_assets.lake.invariants import Rules

RULES: Rules = {
    "losses_without_gap": (
        "grokking_losses",
        "gap",
        "runs whose losses skip or repeat epochs between the first and the last",
        """SELECT count(*) FROM (
               SELECT training_run FROM grokking_losses GROUP BY ALL HAVING max(epoch) - min(epoch) + 1 <> count(*)
           )""",
    ),
    "analysed_means_all_of_it": (
        "grokking_analyses",
        "half-written",
        "checkpoints that are marked as analysed but lack spectra, neurons or components",
        """SELECT count(*) FROM (
               SELECT training_run, epoch FROM grokking_analyses EXCEPT (
                   SELECT training_run, epoch FROM grokking_spectra
                   INTERSECT SELECT training_run, epoch FROM grokking_dominant
                   INTERSECT SELECT training_run, epoch FROM grokking_neurons
                   INTERSECT SELECT training_run, epoch FROM grokking_class_pca
                   INTERSECT SELECT training_run, epoch FROM grokking_row_pca WHERE basis = 'own'
               )
           )""",
    ),
    "shares_add_up": (
        "grokking_spectra",
        "invalid",
        "spectra whose shares do not add up to 1",
        """SELECT count(*) FROM (
               SELECT training_run, epoch, space FROM grokking_spectra WHERE k IS NOT NULL GROUP BY ALL
               HAVING abs(sum(fraction) - 1) > 1e-9
           )""",
    ),
}

"""Fair tuning: every method with the same budget, on validation data. Nothing else imports Optuna.

`space` says what is searched, `plan` what is asked for, `study` keeps trials in Optuna, `worker` carries one
out as runs of the store, `team` has several workers, `board` shows them, `chosen` writes what came out as a
suite, `insight` and `pictures` say what was learnt.
"""

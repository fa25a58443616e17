"""Running heavy steps as jobs of a scheduler: submit, follow, explain, delete, and pick up again after a restart.

`request` and `answers` are pure: what is said to the scheduler, and what its words mean. `scheduler` starts its
programs, `jobs` keeps one job for one task, `tool` is the copy of this program that jobs run.
"""

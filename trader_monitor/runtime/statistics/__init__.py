"""The statistics worker: heavy computations in a process of their own, which may die without harm.

A job is a module here: what it is asked and what it answers as frozen structs, `run(asked, told)`, and `JOB`, by which
the daemon names it. The daemon imports no job but to ask it, and scipy nowhere.
"""

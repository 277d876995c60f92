"""Programs are run in processes of their own, not imported."""

collect_ignore = ["programs"]

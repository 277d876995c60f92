"""Code for other compilers: StableHLO text, and its execution through PJRT plugins."""

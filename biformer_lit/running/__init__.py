"""Parts that let a run survive: its processes, signals, full disks, restarts, and what it writes about itself."""

"""What a study is: its file read, its cells planned, and the complete config of each."""

"""The chassis of a worker: the Faust app and its transport, group commit, threads, locks, crash points, priority."""

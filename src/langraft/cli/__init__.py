"""The command line: verbs that are the folders' names, plus run, plan and chat."""

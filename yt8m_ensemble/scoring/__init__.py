"""Score records with opened models: members, checkpoints of a directory, Apache Beam workers.

Between `loading` (what is scored) and the commands (what becomes of the scores).
"""

"""The rules of the house (DESIGN.md section 2, CONTRIBUTING.md), as functions over a tree.

tree.py reads: the layers, the files, C code without its comments, functions. Each rules_*.py holds
rules: a rule is a function that takes a Tree and yields one line for each breach, as `file:line:
what`. check_house.py lists the rules and runs them; test_check_house.py plants a breach of each.
"""

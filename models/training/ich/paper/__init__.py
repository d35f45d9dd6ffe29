"""The study of the paper: its settings (paper.py), its ten methods (methods/) and the report on an experiment (report/)."""

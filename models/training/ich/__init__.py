"""Training of the cavity and hemorrhage networks: synthetic heads in, model bundle out.

    paper/     the study of the paper: settings, ten methods, report       product/  the networks that ichor ships
    heads/     heads with known blood, rendered or painted                 bundles/  from a network to a bundle, and back
    datasets/  public sets of scans, read and checked                      commands/ the command line

loop.py, warp.py and files.py hold what the trainings of paper/ and product/ share.
"""

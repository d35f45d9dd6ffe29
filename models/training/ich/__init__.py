"""Training of the cavity and hemorrhage networks: synthetic heads in, model bundle out."""

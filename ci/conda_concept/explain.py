"""placeholder"""
from conda_concept.errors import UnsolvableError
def explain(session, text):
    return UnsolvableError("no solution", solver_text=text)

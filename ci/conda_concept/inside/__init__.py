"""What runs inside an image, with the release's own interpreter: standard library only, Python 3.9 or newer.

The sources of these modules are sent to that interpreter as text (`conda_concept.testing.probe`), so that nothing has
to be visible or readable in the image but the image itself.
"""

"""Testing a release: plan what to test, run the probe in its image, judge what it reports, write it down."""

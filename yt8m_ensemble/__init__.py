"""Average, merge, weigh and package YouTube-8M video classifiers as one float16 graph."""

__version__ = "0.1.0"

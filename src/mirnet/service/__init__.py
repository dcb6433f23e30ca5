"""The REST service and the page behind `mirnet serve`: one process over one `Enhancer`, a bounded queue before it."""

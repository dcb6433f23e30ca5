"""The REST service and the web page behind `mirnet serve`."""

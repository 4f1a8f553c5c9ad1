"""A process that takes OTLP over HTTP as a collector does, and writes down what it was sent, a JSON object a line.

python otlp_receiver.py PORT FILE [STATUS]     a STATUS other than 200 refuses everything
"""

from __future__ import annotations

import gzip
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

REQUESTS: dict[str, Any] = {"/v1/traces": ExportTraceServiceRequest, "/v1/metrics": ExportMetricsServiceRequest}


def main() -> None:
    port, path, status = int(sys.argv[1]), Path(sys.argv[2]), int((*sys.argv, "200")[3])

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            request = REQUESTS[self.path]()
            request.ParseFromString(body)
            if status == 200:
                line = json.dumps({"path": self.path, "body": MessageToDict(request)}) + "\n"
                with path.open("a") as file:
                    file.write(line)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Receiver) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()

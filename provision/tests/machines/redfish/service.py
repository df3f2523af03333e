"""A Redfish service that prints what it is asked: `service.py PORT SETTINGS`, where the settings are JSON:
its systems, their power state, the resets that it allows, the password, and files with certificate and key."""

import base64
import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SYSTEMS = "/redfish/v1/Systems"
settings = json.loads(sys.argv[2])
state = settings["state"]


class Handler(BaseHTTPRequestHandler):
    def answer(self, status, body=None):
        text = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def asked(self):
        """What was sent; none if whoever sent it was refused."""
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        print(f"{self.command} {self.path} {sent}".strip(), flush=True)
        pair = base64.b64encode(f"admin:{settings['password']}".encode()).decode()
        if self.headers.get("Authorization") == f"Basic {pair}":
            return sent
        message = {"Message": "who are you?"}
        self.answer(401, {"error": {"@Message.ExtendedInfo": [message]}})
        return None

    def do_GET(self):
        if self.asked() is None:
            return
        paths = [f"{SYSTEMS}/{name}" for name in settings["systems"]]
        if self.path == SYSTEMS:
            self.answer(200, {"Members": [{"@odata.id": path} for path in paths]})
        elif self.path in paths:
            reset = {"target": f"{self.path}/Actions/Reset"}
            if settings.get("resets"):
                reset["ResetType@Redfish.AllowableValues"] = settings["resets"]
            self.answer(200, {"PowerState": state, "Actions": {"#ComputerSystem.Reset": reset}})
        else:
            self.answer(404)

    def do_PATCH(self):
        if self.asked() is not None:
            self.answer(204)

    def do_POST(self):
        global state
        sent = self.asked()
        if sent is not None:
            state = "Off" if json.loads(sent)["ResetType"] == "ForceOff" else "On"
            self.answer(204)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
if "certificate" in settings:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings["certificate"], settings["key"])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print("ready", flush=True)
server.serve_forever()

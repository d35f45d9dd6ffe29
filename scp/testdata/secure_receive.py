"""Receives with pynetdicom over TLS on a port of its own choice; it wants a certificate and a user identity.

usage: secure_receive.py CA CERTIFICATE KEY USERNAME PASSCODE
Prints the port, then a line for each event. Ends with its input.
"""
import ssl
import sys

from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, Verification

ca, cert, key, username, passcode = sys.argv[1:]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
context.verify_mode = ssl.CERT_REQUIRED
context.load_cert_chain(cert, key)


def say(*words):
    print(*words, flush=True)


def identified(event):
    return (event.user_id_type, event.primary_field, event.secondary_field) == (2, username.encode(), passcode.encode()), None


def stored(event):
    say("stored", event.dataset.SOPInstanceUID)
    return 0x0000


ae = AE(ae_title="PYNETDICOM")
ae.add_supported_context(Verification)
ae.add_supported_context(CTImageStorage, "1.2.840.10008.1.2.1")
handlers = [(evt.EVT_C_STORE, stored), (evt.EVT_USER_ID, identified), (evt.EVT_RELEASED, lambda e: say("released"))]
server = ae.start_server(("127.0.0.1", 0), block=False, ssl_context=context, evt_handlers=handlers)
say(server.server_address[1])
sys.stdin.read()
server.shutdown()

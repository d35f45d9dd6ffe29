"""Receives with pynetdicom on a port of its own choice: prints the port, then a line for each event."""
import sys

from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification


def say(*words):
    print(*words, flush=True)


def stored(event):
    d = event.dataset
    say("stored", d.SOPInstanceUID, len(d.PixelData))
    return 0x0000


def echoed(event):
    say("echoed")
    return 0x0000


ae = AE(ae_title="PYNETDICOM")
ae.maximum_pdu_size = int(sys.argv[1])
ae.supported_contexts = AllStoragePresentationContexts
ae.add_supported_context(Verification)
handlers = [
    (evt.EVT_C_STORE, stored), (evt.EVT_C_ECHO, echoed),
    (evt.EVT_RELEASED, lambda e: say("released")), (evt.EVT_ABORTED, lambda e: say("aborted")),
]
server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
say(server.server_address[1])
sys.stdin.read()
server.shutdown()

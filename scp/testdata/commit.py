"""Sends files with pynetdicom and asks for storage commitment of them and of one more that was never sent.

usage: commit.py HOST PORT same|later FILE...
same: waits for the report on the same association. later: releases first, prints the port on which it listens, and takes
the report there. Prints event type, then each committed and each failed instance with its reason.
"""
import queue
import sys

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.presentation import build_role
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

host, port, mode, files = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]
data_sets = [dcmread(f) for f in files]
reports = queue.Queue()


def reported(event):
    reports.put((event.request.EventTypeID, event.event_information))
    return 0x0000, None


ae = AE(ae_title="PYNETDICOM")
server = None
if mode == "later":
    listener = AE(ae_title="PYNETDICOM")
    listener.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    server = listener.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, reported)])
    print(server.server_address[1], flush=True)
for d in data_sets:
    ae.add_requested_context(d.SOPClassUID, d.file_meta.TransferSyntaxUID)
ae.add_requested_context(StorageCommitmentPushModel)
assoc = ae.associate(host, port, ae_title="ICHOR", evt_handlers=[(evt.EVT_N_EVENT_REPORT, reported)])
assert assoc.is_established, "not associated"
request = Dataset()
request.TransactionUID = generate_uid()
request.ReferencedSOPSequence = []
for d in data_sets:
    assert assoc.send_c_store(d).Status == 0
for cls, uid in [(d.SOPClassUID, d.SOPInstanceUID) for d in data_sets] + [(data_sets[0].SOPClassUID, "1.2.3.999")]:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = cls, uid
    request.ReferencedSOPSequence.append(item)
status, _ = assoc.send_n_action(request, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
assert status.Status == 0, status
if mode == "later":
    assoc.release()
event_type, information = reports.get(timeout=30)
assert information.TransactionUID == request.TransactionUID
print("event", event_type)
for item in information.get("ReferencedSOPSequence", []):
    print("committed", item.ReferencedSOPInstanceUID)
for item in information.get("FailedSOPSequence", []):
    print("failed", item.ReferencedSOPInstanceUID, "%04X" % item.FailureReason)
if mode == "same":
    assoc.release()
else:
    server.shutdown()

"""Stores with pynetdicom and is SCP of storage commitment.

usage: commit.py same|later PORT
Prints the port on which it listens. same: reports on the association on which it was asked; later: on one of its own to
PORT, as SCP by role selection. The first request is answered with its first object lost.
"""
import sys
import threading

from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

mode, port = sys.argv[1], int(sys.argv[2])
stored, asked = set(), []


def store(event):
    stored.add(event.dataset.SOPInstanceUID)
    return 0x0000


def report(assoc, request):
    result, failed = Dataset(), []
    result.TransactionUID = request.TransactionUID
    result.ReferencedSOPSequence = []
    for i, item in enumerate(request.ReferencedSOPSequence):
        if item.ReferencedSOPInstanceUID not in stored or i == 0 and len(asked) == 1:
            item.FailureReason = 0x0112
            failed.append(item)
        else:
            result.ReferencedSOPSequence.append(item)
    if failed:
        result.FailedSOPSequence = failed
    if not result.ReferencedSOPSequence:
        del result.ReferencedSOPSequence
    status, _ = assoc.send_n_event_report(result, 2 if failed else 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
    print("reported %04X" % status.Status, file=sys.stderr, flush=True)


def report_later(request):
    ae = AE(ae_title="PACS")
    ae.add_requested_context(StorageCommitmentPushModel)
    assoc = ae.associate("127.0.0.1", port, ae_title="ICHOR", ext_neg=[build_role(StorageCommitmentPushModel, scp_role=True)])
    assert assoc.is_established, "not associated"
    report(assoc, request)
    assoc.release()


def action(event):
    request = event.action_information
    asked.append(request)
    if mode == "same":
        threading.Timer(0.1, report, (event.assoc, request)).start()
    else:
        threading.Timer(0.1, report_later, (request,)).start()
    return 0x0000, None


ae = AE(ae_title="PACS")
ae.supported_contexts = AllStoragePresentationContexts
ae.add_supported_context(StorageCommitmentPushModel)
handlers = [(evt.EVT_C_STORE, store), (evt.EVT_N_ACTION, action)]
server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
print(server.server_address[1], flush=True)
sys.stdin.read()
server.shutdown()

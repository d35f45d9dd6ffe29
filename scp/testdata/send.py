"""Sends the files named on the command line with pynetdicom; prints each status as four hex digits.

usage: send.py HOST PORT MAX_PDU FILE...
"""
import sys

from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.sop_class import Verification

host, port, max_pdu, files = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
data_sets = [dcmread(f) for f in files]
ae = AE(ae_title="PYNETDICOM")
ae.maximum_pdu_size = max_pdu
ae.add_requested_context(Verification)
for d in data_sets:
    ae.add_requested_context(d.SOPClassUID, d.file_meta.TransferSyntaxUID)
assoc = ae.associate(host, port, ae_title="ICHOR")
assert assoc.is_established, "not associated"
print("%04X" % assoc.send_c_echo().Status)
for d in data_sets:
    print("%04X" % assoc.send_c_store(d).Status)
assoc.release()
assert assoc.is_released, "not released"

package assembly

import "ichor/scp/spool"

// Received records a durable object. fresh is false if it was already stored.
func (a *Assembler) Received(assoc uint64, o spool.Object, fresh bool) {
	a.received(assoc, o.CallingAE, o.StudyInstanceUID, fresh)
}

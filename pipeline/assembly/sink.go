package assembly

import "ichor/scp/spool"

// Received notes an object that is durable. fresh is false for one that was there already.
func (a *Assembler) Received(assoc uint64, o spool.Object, fresh bool) {
	a.received(assoc, o.StudyInstanceUID, fresh)
}

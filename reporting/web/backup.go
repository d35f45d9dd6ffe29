package web

import (
	"io"
	"net/http"
	"time"
)

// backupPause is how long the receiver of a backup may take for one piece of it.
const backupPause = 2 * time.Minute

// backup serves a backup of the node to those who may give orders. A backup that fails is cut off, and its receiver sees that its
// end is missing.
func (o Options) backup(w http.ResponseWriter, r *http.Request) {
	if !o.mayOrder(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/x-tar")
	w.Header().Set("Cache-Control", "no-store")
	if err := o.Backup(pieces{w, http.NewResponseController(w)}); err != nil {
		panic(http.ErrAbortHandler) // the connection ends without the last chunk
	}
}

// pieces extends the time limit of an answer with each piece.
type pieces struct {
	io.Writer
	control *http.ResponseController
}

// Write writes one piece.
func (p pieces) Write(b []byte) (int, error) {
	if err := p.control.SetWriteDeadline(time.Now().Add(backupPause)); err != nil {
		return 0, err
	}
	return p.Writer.Write(b)
}

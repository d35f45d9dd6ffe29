package ul

import "fmt"

// State is a state of the upper layer (PS3.8 Tables 9-1 to 9-5).
type State uint8

const (
	Sta1  State = iota + 1 // idle
	Sta2                   // connection open, awaiting A-ASSOCIATE-RQ
	Sta3                   // awaiting local A-ASSOCIATE response
	Sta4                   // awaiting the transport connection
	Sta5                   // awaiting A-ASSOCIATE-AC or -RJ
	Sta6                   // ready for data transfer
	Sta7                   // awaiting A-RELEASE-RP
	Sta8                   // awaiting local A-RELEASE response
	Sta9                   // release collision, requestor, awaiting local A-RELEASE response
	Sta10                  // release collision, acceptor, awaiting A-RELEASE-RP
	Sta11                  // release collision, requestor, awaiting A-RELEASE-RP
	Sta12                  // release collision, acceptor, awaiting local A-RELEASE response
	Sta13                  // awaiting transport connection close
)

func (s State) String() string { return fmt.Sprintf("Sta%d", uint8(s)) }

// Event is an event of the upper layer (PS3.8 Table 9-10, left column).
type Event uint8

const (
	EvtAssociateRequest  Event = iota + 1 // 1 local A-ASSOCIATE request
	EvtConnected                          // 2 transport connection confirmed
	EvtAssociateAC                        // 3 PDU
	EvtAssociateRJ                        // 4 PDU
	EvtConnectIndication                  // 5 transport connection accepted
	EvtAssociateRQ                        // 6 PDU
	EvtAssociateAccept                    // 7 local A-ASSOCIATE response, accept
	EvtAssociateReject                    // 8 local A-ASSOCIATE response, reject
	EvtDataRequest                        // 9 local P-DATA request
	EvtData                               // 10 PDU
	EvtReleaseRequest                     // 11 local A-RELEASE request
	EvtReleaseRQ                          // 12 PDU
	EvtReleaseRP                          // 13 PDU
	EvtReleaseResponse                    // 14 local A-RELEASE response
	EvtAbortRequest                       // 15 local A-ABORT request
	EvtAbort                              // 16 PDU
	EvtTransportClosed                    // 17
	EvtARTIM                              // 18 ARTIM timer expired
	EvtInvalidPDU                         // 19 unrecognized or invalid PDU
)

// Action is an action of the upper layer (PS3.8 Tables 9-6 to 9-9).
type Action uint8

const (
	None Action = iota // the standard leaves the cell empty
	AE1                // open the transport connection
	AE2                // send A-ASSOCIATE-RQ
	AE3                // confirm acceptance
	AE4                // confirm rejection, close
	AE5                // answer the transport connection, start ARTIM
	AE6                // stop ARTIM; indicate the request (Sta3), or send A-ASSOCIATE-RJ and start ARTIM (Sta13)
	AE7                // send A-ASSOCIATE-AC
	AE8                // send A-ASSOCIATE-RJ, start ARTIM
	DT1                // send P-DATA-TF
	DT2                // indicate P-DATA
	AR1                // send A-RELEASE-RQ
	AR2                // indicate release
	AR3                // confirm release, close
	AR4                // send A-RELEASE-RP, start ARTIM
	AR5                // stop ARTIM
	AR6                // indicate P-DATA
	AR7                // send P-DATA-TF
	AR8                // indicate release, collision: requestor Sta9, acceptor Sta10
	AR9                // send A-RELEASE-RP
	AR10               // confirm release
	AA1                // send A-ABORT (service user), start or restart ARTIM
	AA2                // stop ARTIM, close
	AA3                // indicate abort, close
	AA4                // indicate provider abort
	AA5                // stop ARTIM
	AA6                // ignore the PDU
	AA7                // send A-ABORT
	AA8                // send A-ABORT (service provider), indicate provider abort, start ARTIM
)

var actionNames = [...]string{"none", "AE-1", "AE-2", "AE-3", "AE-4", "AE-5", "AE-6", "AE-7", "AE-8", "DT-1", "DT-2",
	"AR-1", "AR-2", "AR-3", "AR-4", "AR-5", "AR-6", "AR-7", "AR-8", "AR-9", "AR-10",
	"AA-1", "AA-2", "AA-3", "AA-4", "AA-5", "AA-6", "AA-7", "AA-8"}

func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return fmt.Sprintf("action %d", uint8(a))
}

// row is one line of PS3.8 Table 9-10: the action for each state, Sta1 to Sta13.
type row [13]Action

// actions is PS3.8 Table 9-10. Rows are events 1 to 19, columns Sta1 to Sta13.
var actions = [19]row{
	//                 1    2    3    4    5    6    7    8    9    10   11    12   13
	/*  1 */ {AE1},
	/*  2 */ {None, None, None, AE2},
	/*  3 */ {None, AA1, AA8, None, AE3, AA8, AA8, AA8, AA8, AA8, AA8, AA8, AA6},
	/*  4 */ {None, AA1, AA8, None, AE4, AA8, AA8, AA8, AA8, AA8, AA8, AA8, AA6},
	/*  5 */ {AE5},
	/*  6 */ {None, AE6, AA8, None, AA8, AA8, AA8, AA8, AA8, AA8, AA8, AA8, AA7},
	/*  7 */ {None, None, AE7},
	/*  8 */ {None, None, AE8},
	/*  9 */ {None, None, None, None, None, DT1, None, AR7},
	/* 10 */ {None, AA1, AA8, None, AA8, DT2, AR6, AA8, AA8, AA8, AA8, AA8, AA6},
	/* 11 */ {None, None, None, None, None, AR1},
	/* 12 */ {None, AA1, AA8, None, AA8, AR2, AR8, AA8, AA8, AA8, AA8, AA8, AA6},
	/* 13 */ {None, AA1, AA8, None, AA8, AA8, AR3, AA8, AA8, AR10, AR3, AA8, AA6},
	/* 14 */ {None, None, None, None, None, None, None, AR4, AR9, None, None, AR4},
	/* 15 */ {None, None, AA1, AA2, AA1, AA1, AA1, AA1, AA1, AA1, AA1, AA1},
	/* 16 */ {None, AA2, AA3, None, AA3, AA3, AA3, AA3, AA3, AA3, AA3, AA3, AA2},
	/* 17 */ {None, AA5, AA4, AA4, AA4, AA4, AA4, AA4, AA4, AA4, AA4, AA4, AR5},
	/* 18 */ {None, AA2, None, None, None, None, None, None, None, None, None, None, AA2},
	/* 19 */ {None, AA1, AA8, None, AA8, AA8, AA8, AA8, AA8, AA8, AA8, AA8, AA7},
}

// next is the state after each action. AR-7 keeps Sta8; lookup decides AE-6 and AR-8.
var next = [...]State{
	AE1: Sta4, AE2: Sta5, AE3: Sta6, AE4: Sta1, AE5: Sta2, AE6: Sta3, AE7: Sta6, AE8: Sta13,
	DT1: Sta6, DT2: Sta6,
	AR1: Sta7, AR2: Sta8, AR3: Sta1, AR4: Sta13, AR5: Sta1, AR6: Sta7, AR7: Sta8, AR8: Sta10, AR9: Sta11, AR10: Sta12,
	AA1: Sta13, AA2: Sta1, AA3: Sta1, AA4: Sta1, AA5: Sta1, AA6: Sta13, AA7: Sta13, AA8: Sta13,
}

// condition holds the conditions on which the table's next state depends.
type condition struct {
	requestor    bool // this side requested the association: AR-8
	unacceptable bool // the service provider cannot accept this A-ASSOCIATE-RQ: AE-6
}

// lookup returns action and next state for an event. For an empty cell it returns None and the same state.
func lookup(s State, e Event, c condition) (Action, State) {
	if s < Sta1 || s > Sta13 || e < EvtAssociateRequest || e > EvtInvalidPDU {
		return None, s
	}
	switch a := actions[e-1][s-1]; {
	case a == None:
		return None, s
	case a == AE6 && c.unacceptable:
		return a, Sta13
	case a == AR8 && c.requestor:
		return a, Sta9
	default:
		return a, next[a]
	}
}

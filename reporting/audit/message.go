package audit

import (
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"time"

	"ichor/reporting/events"
)

// code is a coded value of an audit message (PS3.15 §A.5.1).
type code struct {
	Code    string `xml:"csd-code,attr"`
	Scheme  string `xml:"codeSystemName,attr"`
	Meaning string `xml:"originalText,attr"`
}

func dcmCode(value, meaning string) code { return code{value, "DCM", meaning} }

// message is an audit message (PS3.15 §A.5.1, Table A.5.2-1).
type message struct {
	XMLName      xml.Name `xml:"AuditMessage"`
	Event        identification
	Participants []participant `xml:"ActiveParticipant"`
	Source       source        `xml:"AuditSourceIdentification"`
	Objects      []object      `xml:"ParticipantObjectIdentification"`
}

type identification struct {
	XMLName  xml.Name `xml:"EventIdentification"`
	Action   string   `xml:"EventActionCode,attr,omitempty"`
	DateTime string   `xml:"EventDateTime,attr"`
	Outcome  int      `xml:"EventOutcomeIndicator,attr"`
	ID       code     `xml:"EventID"`
	Type     *code    `xml:"EventTypeCode,omitempty"`
	Text     string   `xml:"EventOutcomeDescription,omitempty"`
}

type participant struct {
	UserID      string `xml:"UserID,attr"`
	Alternative string `xml:"AlternativeUserID,attr,omitempty"`
	Requestor   bool   `xml:"UserIsRequestor,attr"`
	Address     string `xml:"NetworkAccessPointID,attr,omitempty"`
	AddressType string `xml:"NetworkAccessPointTypeCode,attr,omitempty"` // 1: name, 2: IP address
	Role        []code `xml:"RoleIDCode"`
}

type source struct {
	ID   string `xml:"AuditSourceID,attr"`
	Type code   `xml:"AuditSourceTypeCode"`
}

type object struct {
	ID     string  `xml:"ParticipantObjectID,attr"`
	Type   int     `xml:"ParticipantObjectTypeCode,attr"`
	Role   int     `xml:"ParticipantObjectTypeCodeRole,attr"`
	IDType code    `xml:"ParticipantObjectIDTypeCode"`
	Name   string  `xml:"ParticipantObjectName,omitempty"`
	Query  string  `xml:"ParticipantObjectQuery,omitempty"`
	Detail *detail `xml:"ParticipantObjectDetail,omitempty"`
}

type detail struct {
	Type  string `xml:"type,attr"`
	Value string `xml:"value,attr"` // base64
}

// Outcomes of an event (PS3.15 §A.5.1).
const (
	success = 0
	minor   = 4 // a failure that the caller can correct
	serious = 8
)

// Message makes the audit message of an event, and false for an event that has none.
func Message(e events.Event, o Options) ([]byte, bool) {
	m := message{
		Event:  identification{DateTime: e.At.UTC().Format(time.RFC3339Nano), Outcome: success},
		Source: source{o.SourceID, code{"4", "DCM", "Application Server"}},
	}
	process := participant{UserID: o.Process, Alternative: "AETITLES=" + o.AETitle}
	peer := participant{UserID: e.Peer, Alternative: "AETITLES=" + e.Peer, Address: e.Address, AddressType: "2"}
	sender, receiver := dcmCode("110153", "Source Role ID"), dcmCode("110152", "Destination Role ID")
	application, launcher := dcmCode("110150", "Application"), dcmCode("110151", "Application Launcher")
	user := participant{UserID: e.User, Requestor: true, Address: e.Address, AddressType: "2"}
	if user.UserID == "" {
		user.UserID = "unknown"
	}
	what := func(id code, action string) { m.Event.ID, m.Event.Action = id, action }
	kind := func(c code) { m.Event.Type = &c }
	switch e.Kind {
	case events.Started, events.Stopped: // §A.5.3.1
		what(dcmCode("110100", "Application Activity"), "E")
		kind(map[events.Kind]code{events.Started: dcmCode("110120", "Application Start"), events.Stopped: dcmCode("110121", "Application Stop")}[e.Kind])
		process.Role = []code{application}
		m.Participants = []participant{process, {UserID: "systemd", Requestor: true, Role: []code{launcher}}}
	case events.Received: // §A.5.3.7
		what(dcmCode("110104", "DICOM Instances Transferred"), "C")
		peer.Requestor, peer.Role, process.Role = true, []code{sender}, []code{receiver}
		m.Participants = []participant{peer, process}
	case events.Delivered: // §A.5.3.7
		what(dcmCode("110104", "DICOM Instances Transferred"), "C")
		process.Requestor, process.Role = true, []code{sender}
		m.Participants = []participant{process, {UserID: e.Destination, Role: []code{receiver}}}
	case events.GaveUp:
		what(dcmCode("110104", "DICOM Instances Transferred"), "C")
		m.Event.Outcome, m.Event.Text = serious, e.Outcome
		process.Requestor, process.Role = true, []code{sender}
		m.Participants = []participant{process, {UserID: or(e.Destination, "none"), Role: []code{receiver}}}
	case events.Analysed: // §A.5.3.6
		what(dcmCode("110103", "DICOM Instances Accessed"), "R")
		m.Event.Text = e.Outcome
		process.Requestor = true
		m.Participants = []participant{process}
	case events.Looked: // §A.5.3.6
		what(dcmCode("110103", "DICOM Instances Accessed"), "R")
		m.Participants = []participant{user, process}
	case events.Removed: // §A.5.3.8
		what(dcmCode("110105", "DICOM Study Deleted"), "D")
		process.Requestor = true
		m.Participants = []participant{process}
	case events.Refused: // §A.5.3.11
		what(dcmCode("110113", "Security Alert"), "E")
		kind(dcmCode("110126", "Node Authentication"))
		m.Event.Outcome, m.Event.Text = minor, e.Detail
		peer.UserID, peer.Requestor = or(e.Peer, or(e.User, "unknown")), true
		m.Participants = []participant{peer, process}
	case events.Changed: // §A.5.3.11
		what(dcmCode("110113", "Security Alert"), "E")
		kind(dcmCode("110131", "Software Configuration"))
		m.Event.Text = e.Detail
		m.Participants = []participant{user, process}
	default:
		return nil, false
	}
	for i := range m.Participants {
		if p := &m.Participants[i]; p.Address == "" || p.Address == "invalid IP" {
			p.Address, p.AddressType = "", ""
		}
	}
	m.objects(e)
	text, err := xml.Marshal(m)
	if err != nil {
		return nil, false
	}
	return append([]byte(xml.Header), text...), true
}

func (m *message) objects(e events.Event) {
	if e.StudyInstanceUID != "" {
		o := object{ID: e.StudyInstanceUID, Type: 2, Role: 3, IDType: dcmCode("110180", "Study Instance UID")}
		if e.Objects > 0 {
			o.Detail = &detail{"NumberOfInstances", base64.StdEncoding.EncodeToString(fmt.Append(nil, e.Objects))}
		}
		m.Objects = append(m.Objects, o)
	}
	if e.PatientID != "" || e.StudyInstanceUID != "" {
		m.Objects = append(m.Objects, object{ID: or(e.PatientID, "unknown"), Type: 1, Role: 1, IDType: code{"2", "RFC-3881", "Patient Number"}})
	}
	if e.StudyInstanceUID == "" && e.Kind == events.Looked {
		m.Objects = append(m.Objects, object{ID: e.Detail, Type: 2, Role: 13, IDType: code{"12", "RFC-3881", "URI"}})
	}
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

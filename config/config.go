// Package config reads ichor's settings: defaults, then a YAML file, then ICHOR_... environment variables, then flags.
// A later source overrides an earlier one.
//
// Every setting is declared once, in the structs below: the tags hold its key, its default and its description in the
// example file. Unknown keys in the file are errors.
package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/viper"
)

// Config is everything an operator can set.
type Config struct {
	Source string `mapstructure:"-"` // the file that was read, or Defaults

	State           string        `mapstructure:"state" default:"" doc:"Folder for received objects, cases and results. Empty: /var/lib/ichor when run as a service, else the user's state folder."`
	DICOM           DICOM         `mapstructure:"dicom" doc:"The DICOM node that receives studies."`
	Destinations    []Destination `mapstructure:"destinations" doc:"Nodes that receive the results, by DICOM or DICOMweb. Each has its own queue."`
	Delivery        Delivery      `mapstructure:"delivery" doc:"How results are sent."`
	Assembly        Assembly      `mapstructure:"assembly" doc:"When a study counts as complete."`
	Reporting       Reporting     `mapstructure:"reporting" doc:"What the result objects look like."`
	Analysis        Analysis      `mapstructure:"analysis" doc:"The networks and how they run."`
	Workers         Workers       `mapstructure:"workers" doc:"Workers of other machines ('ichor worker'), which share the NATS server at queue.url. Both sides use these files; their certificates must be signed by an authority of this installation only."`
	Queue           Queue         `mapstructure:"queue" doc:"Work queue between reception and analysis."`
	Pair            Pair          `mapstructure:"pair" doc:"Two nodes that take over from each other. Both receive the same studies; the one that holds a lease at queue.url sends the results, and the other one when the first is gone."`
	Retention       time.Duration `mapstructure:"retention" default:"168h" doc:"Received studies and results are deleted this long after the last result was delivered."`
	RetentionFailed time.Duration `mapstructure:"retention_failed" default:"720h" doc:"The same for studies without a delivered result: the analysis failed, or results became dead letters, or their destination was removed from this file."`
	RetentionCases  time.Duration `mapstructure:"retention_cases" default:"2160h" doc:"Cases, with findings, history and deliveries, leave the state file this long after their study was deleted. Digests stay, so that the same study sent again is not delivered again."`
	RetentionGiB    int           `mapstructure:"retention_gib" default:"0" doc:"Disk quota for received studies. Delivered studies are deleted early, oldest first, when the quota is exceeded or when less than twice dicom.reserve_mib is free. 0: no quota."`
	HTTP            HTTP          `mapstructure:"http" doc:"Dashboard, health checks, metrics, and cases as JSON."`
	Canary          Canary        `mapstructure:"canary" doc:"Self-test: a synthetic head passes through the whole node, from C-STORE to delivery. Its results never reach a destination that is not listed here."`
	Events          Events        `mapstructure:"events" doc:"Event log: what was received, analysed with which bundle, delivered, refused and changed, and who looked. It is append-only, and each entry holds the digest of the one before. 'ichor events verify' proves that nothing was changed."`
	Audit           Audit         `mapstructure:"audit" doc:"Audit messages of DICOM PS3.15 section A.5, made from the event log. Both are off by default."`
	Tracing         Tracing       `mapstructure:"tracing" doc:"OpenTelemetry traces of cases. Off by default. Spans have no patient attribute and no UID."`
	Log             Log           `mapstructure:"log" doc:"Logging to standard error. Log lines contain no patient data."`
}

// DICOM is the receiving node.
type DICOM struct {
	Listen          string        `mapstructure:"listen" default:"127.0.0.1:11112" doc:"Address to listen on. systemd: use the socket from ichor.socket. Empty: plain DICOM is off, only TLS is used. Addresses other than loopback require dicom.peers."`
	TLS             TLS           `mapstructure:"tls" doc:"DICOM over TLS 1.2 or 1.3, for receiving and for destinations. Changed certificate files are read again without a restart."`
	AETitle         string        `mapstructure:"ae_title" default:"ICHOR" doc:"Our AE title."`
	CheckCalledAE   bool          `mapstructure:"check_called_ae" default:"true" doc:"Reject associations that call a different AE title."`
	Peers           []Peer        `mapstructure:"peers" doc:"Nodes that may connect. An empty list accepts everyone, on loopback only."`
	PrivateClasses  bool          `mapstructure:"private_classes" default:"true" doc:"Store objects of SOP classes that are not in the standard, as vendors put into a study. They are not analysed. false: a sender that proposes such a class with the rest of the study may give up."`
	MaxAssociations int           `mapstructure:"max_associations" default:"64" doc:"Maximum number of simultaneous associations. More are rejected as transient, so the sender retries."`
	MaxPerPeer      int           `mapstructure:"max_per_peer" default:"16" doc:"The same limit for each peer, so that one peer cannot use all associations."`
	MaxObjectMiB    int           `mapstructure:"max_object_mib" default:"4096" doc:"Larger objects are refused."`
	ReserveMiB      int           `mapstructure:"reserve_mib" default:"1024" doc:"Objects are refused (A700H) when less disk space than this is free."`
	PreparedMiB     int           `mapstructure:"prepared_mib" default:"512" doc:"Preallocate this much disk space while idle (64 MiB files); makes C-STORE faster. It is given up when the disk is nearly full. 0 disables it."`
	RequestTimeout  time.Duration `mapstructure:"request_timeout" default:"30s" doc:"A new connection must send its association request within this time; after a release, the peer must close the connection within it (ARTIM)."`
	IdleTimeout     time.Duration `mapstructure:"idle_timeout" default:"1m" doc:"An association that is silent for this long between two objects is aborted. Until then its studies do not count as complete."`
	ReadTimeout     time.Duration `mapstructure:"read_timeout" default:"1m" doc:"While an object is being received, at least 16 KiB must arrive within this time."`
}

// Systemd as an address means the socket that systemd opens and passes to the service (systemd.socket(5)).
const Systemd = "systemd"

// TLS is DICOM over TLS.
type TLS struct {
	Listen        string `mapstructure:"listen" default:"" doc:"Address for DICOM over TLS, such as 0.0.0.0:2762. systemd: use the socket from ichor-tls.socket. Empty: off."`
	Certificate   string `mapstructure:"certificate" default:"" doc:"PEM file with our certificate, followed by its intermediate certificates."`
	Key           string `mapstructure:"key" default:"" doc:"PEM file with the private key."`
	CA            string `mapstructure:"ca" default:"" doc:"PEM file with the certificate authorities that peers and destinations are verified against."`
	CRL           string `mapstructure:"crl" default:"" doc:"File with the certificate revocation lists of these authorities, PEM or DER. Connections with a revoked certificate are refused, in both directions. Empty: revocation is not checked."`
	RequireClient bool   `mapstructure:"require_client_certificate" default:"true" doc:"Peers must present a certificate (mutual authentication)."`
}

// Peer is a node that may connect.
type Peer struct {
	AETitle         string   `mapstructure:"ae_title" sample:"PACS1" doc:"Calling AE title."`
	Addresses       []string `mapstructure:"addresses" sample:"[10.1.2.0/24]" doc:"IP ranges the peer may connect from. Empty: any."`
	Certificates    []string `mapstructure:"certificates" sample:"[router.example.org]" doc:"TLS certificates of the peer; it must present one of them. Write the common name, a DNS name, an IP address, the whole subject, or sha256:FINGERPRINT. Empty: not checked."`
	Username        string   `mapstructure:"username" sample:"router" doc:"User identity the peer must send. Empty: not checked."`
	Passcode        string   `mapstructure:"passcode" sample:"secret" doc:"Passcode of that user. Without TLS anyone on the network path can read it."`
	MaxAssociations int      `mapstructure:"max_associations" sample:"16" doc:"Maximum number of simultaneous associations of this peer. 0: the value of dicom.max_per_peer."`
	Address         string   `mapstructure:"address" sample:"10.1.2.3:104" doc:"host:port on which the peer listens. Storage Commitment results are sent there. Empty: they are sent on the association of the request."`
	TLS             bool     `mapstructure:"tls" sample:"false" doc:"Use TLS to connect to that address, with the files in dicom.tls."`
	Urgent          bool     `mapstructure:"urgent" sample:"false" doc:"Studies of this peer are analysed before those of others."`
	Find            bool     `mapstructure:"find" sample:"false" doc:"Use C-FIND at that address to ask how many objects a study has; the study is complete when all have arrived. For an archive that holds the whole study before it sends it."`
}

// Destination is a node that receives results: a DICOM peer by address and title, or a DICOMweb service by URL.
type Destination struct {
	Name          string `mapstructure:"name" sample:"pacs" doc:"Name in logs and in status."`
	Address       string `mapstructure:"address" sample:"10.1.2.3:104" doc:"host:port"`
	AETitle       string `mapstructure:"ae_title" sample:"PACS1" doc:"AE title of the destination."`
	TLS           bool   `mapstructure:"tls" sample:"false" doc:"Use TLS, with the files in dicom.tls."`
	ServerName    string `mapstructure:"server_name" sample:"pacs.example.org" doc:"Host name expected in its certificate. Empty: the host in address."`
	URL           string `mapstructure:"url" sample:"https://pacs.example.org/dicom-web" doc:"URL of a DICOMweb service (STOW-RS). Use it in place of address, ae_title and tls."`
	TokenFile     string `mapstructure:"token_file" sample:"/etc/ichor/pacs.token" doc:"File with a bearer token for url."`
	PasswordFile  string `mapstructure:"password_file" sample:"/etc/ichor/pacs.password" doc:"File with user:password for url."`
	CA            string `mapstructure:"ca" sample:"/etc/ichor/pacs-ca.pem" doc:"PEM file with the certificate authorities for url. Empty: those of the system."`
	Associations  int    `mapstructure:"associations" sample:"1" doc:"Number of simultaneous associations, 1 to 16."`
	Commitment    bool   `mapstructure:"commitment" sample:"false" doc:"Request Storage Commitment; objects that the destination does not commit to are sent again. The destination must know our AE title, host and port. With url: over DICOMweb (PS3.18 section 13), if the server offers it."`
	Segmentation  string `mapstructure:"segmentation" sample:"binary" doc:"binary works with every viewer; labelmap is Label Map Segmentation Storage, for a destination that supports it."`
	RejectionNote bool   `mapstructure:"rejection_note" sample:"false" doc:"When a newer result replaces one that the destination already has, first send a Key Object Selection that rejects the old objects (IHE RAD IOCM). For an archive that hides rejected objects."`
	Deflate       bool   `mapstructure:"deflate" sample:"false" doc:"Also offer segmentations in Deflated Explicit VR Little Endian; where accepted, they are up to some tens of times smaller."`
	Username      string `mapstructure:"username" sample:"ichor" doc:"User identity to send. Empty: none."`
	Passcode      string `mapstructure:"passcode" sample:"secret" doc:"Passcode of that user. Without TLS anyone on the network path can read it."`
}

// Delivery is how results are sent.
type Delivery struct {
	FirstRetry time.Duration `mapstructure:"first_retry" default:"5s" doc:"Wait after the first failure. The wait doubles after each further failure."`
	MaxRetry   time.Duration `mapstructure:"max_retry" default:"10m" doc:"Longest wait between two attempts."`
	MaxAge     time.Duration `mapstructure:"max_age" default:"168h" doc:"An object that could not be delivered for this long becomes a dead letter."`
}

// Assembly is when a study counts as complete.
type Assembly struct {
	QuietPeriod time.Duration `mapstructure:"quiet_period" default:"30s" doc:"A study is complete when nothing arrived for this long and no association is still sending it. After 8 studies of a sender the period follows the pauses of that sender and is shorter; 'ichor status --peers' shows it."`
	LeastQuiet  time.Duration `mapstructure:"least_quiet_period" default:"3s" doc:"The period that follows a sender is at least this long. The same value as quiet_period: every sender has the whole quiet_period."`
	Limit       time.Duration `mapstructure:"limit" default:"15m" doc:"A study is complete at the latest this long after its first object."`
}

// Analysis is the networks and where they run.
type Analysis struct {
	Bundle         string `mapstructure:"bundle" default:"" doc:"Folder of the model bundle, or the name of an installed one (ichor models list --installed). Empty: the one shipped with ichor."`
	Shadow         string `mapstructure:"shadow" default:"" doc:"A second bundle that also analyses every live study and sends nothing; 'ichor models shadow' compares the two. It takes as much processor time and memory again. Empty: none."`
	Library        string `mapstructure:"library" default:"" doc:"Path of libonnxruntime.so. Empty: the one shipped with ichor."`
	Provider       string `mapstructure:"provider" default:"cpu" doc:"Execution provider: cpu, openvino, cuda or tensorrt. If it is not available, ichor stops with an error; it never falls back to another one."`
	Precision      string `mapstructure:"precision" default:"auto" doc:"auto, float32 or int8. int8 is faster on processors with VNNI and needs a bundle that contains it; 'ichor models list' shows how it changes the results. auto: int8 if provider is cpu, the processor has VNNI or a 8-bit dot product, and the masks of int8 differ little from those of float32 (Dice at least 0.995 for each network); float32 otherwise."`
	OperatingPoint string `mapstructure:"operating_point" default:"balanced" doc:"balanced, sensitive or specific: the evidence that a suspected hemorrhage needs to be reported. sensitive finds more small and faint hemorrhages, and more false ones; 'ichor models list' shows the figures of each. Needs a bundle that contains operating points; the shipped one has none, and only balanced works with it."`
	Workers        int    `mapstructure:"workers" default:"1" doc:"Number of studies analysed at the same time. 0: none on this machine, only by workers of other machines (workers.listen)."`
	Threads        int    `mapstructure:"threads" default:"0" doc:"Cores for each analysis: slices that a network computes at the same time, or threads of the provider. Large patches of nnU-Net run one at a time, on all of them. 0: all cores, divided by workers."`
	MinSlices      int    `mapstructure:"min_slices" default:"10" doc:"Series with fewer slices are not analysed. Below 10, a part of a head is analysed too, down to one slice."`
	MinAge         int    `mapstructure:"min_age" default:"18" doc:"Studies of patients younger than this, in years, are refused: the shipped networks were made for adults. 0: any age is analysed."`
	Contrast       bool   `mapstructure:"contrast" default:"false" doc:"If a study has only contrast-enhanced series, analyse one of them, with a warning. false: refuse the study."`
	BoneKernel     bool   `mapstructure:"bone_kernel" default:"false" doc:"If a study has only series with a sharp kernel, analyse one of them, with a warning. false: refuse the study."`
	MaxTries       int    `mapstructure:"max_tries" default:"3" doc:"An analysis that failed this many times is given up."`
}

// PrecisionAuto lets the node choose the precision.
const PrecisionAuto = "auto"

// Workers are those of other machines.
type Workers struct {
	Listen      string `mapstructure:"listen" default:"" doc:"HTTPS address on which workers get the studies of this node and return results, such as 0.0.0.0:8443. Empty: this node has no workers on other machines. 'ichor worker' does not listen."`
	URL         string `mapstructure:"url" default:"" doc:"URL of that address for workers; its host must be in the certificate. Without a port: that of listen. Empty: https://HOSTNAME:PORT."`
	Certificate string `mapstructure:"certificate" default:"" doc:"PEM file with our certificate, followed by its intermediate certificates."`
	Key         string `mapstructure:"key" default:"" doc:"PEM file with the private key."`
	CA          string `mapstructure:"ca" default:"" doc:"PEM file with the authorities that sign the certificates of nodes and workers."`
	CRL         string `mapstructure:"crl" default:"" doc:"File with their certificate revocation lists, PEM or DER. Empty: revocation is not checked."`
}

// Queue is the work queue.
type Queue struct {
	URL         string        `mapstructure:"url" default:"" doc:"nats://host:4222 of an external NATS server with JetStream, 2.14.6 or newer; of a cluster: its servers, separated by commas. Empty: an embedded server without a network port."`
	Replicas    int           `mapstructure:"replicas" default:"1" doc:"Number of servers of a cluster that keep each job: 1, 3 or 5. With 3 the queue works while one of three servers is down."`
	CA          string        `mapstructure:"ca" default:"" doc:"PEM file with the certificate authorities of these servers. Set: TLS is required. Empty: TLS only with tls:// in url, and the authorities of the system."`
	Certificate string        `mapstructure:"certificate" default:"" doc:"PEM file with our certificate for these servers. Empty: none."`
	Key         string        `mapstructure:"key" default:"" doc:"PEM file with its private key."`
	Credentials string        `mapstructure:"credentials" default:"" doc:"Credentials file of our NATS user (nsc generate creds). Empty: none, or user and password in url."`
	AckWait     time.Duration `mapstructure:"ack_wait" default:"30s" doc:"A job whose worker is silent for this long is given to another one. The same on nodes and workers."`
}

// Pair is two nodes for the same senders.
type Pair struct {
	Name  string        `mapstructure:"name" default:"" doc:"Name of the pair, the same on both nodes. Both need the same destinations, bundle and settings of the analysis. Empty: this node works by itself."`
	Lease time.Duration `mapstructure:"lease" default:"15s" doc:"When the node that sends results is silent for this long, the other one sends them. The same on both nodes."`
	Wait  time.Duration `mapstructure:"wait" default:"10m" doc:"A result that the other node should send, and has not sent for this long, is sent by this node too. Objects keep their UIDs, so a destination never has one twice."`
}

// Log is how much is logged.
type Log struct {
	Level  string `mapstructure:"level" default:"info" doc:"debug, info, warn or error."`
	Format string `mapstructure:"format" default:"text" doc:"text or json."`
}

// DefaultPath is read when it exists and no other file is named.
const DefaultPath = "/etc/ichor/ichor.yaml"

// Defaults is the Source of a configuration without a file.
const Defaults = "(defaults and environment)"

// Load reads the settings. If path is empty, Load reads DefaultPath, or no file if that does not exist. overrides are the
// flags of the command line, by dotted key; they are applied last. An error about settings is an *Error with everything that is wrong.
func Load(path string, overrides map[string]any) (Config, error) {
	if path == "" {
		if _, err := os.Stat(DefaultPath); err == nil {
			path = DefaultPath
		}
	}
	var text []byte
	if path != "" {
		var err error
		if text, err = readFile(path); err != nil {
			return Config{}, err
		}
	}
	clean, read := readYAML(text)
	faults, settings := environmentFaults()
	faults = append(faults, read.faults...)
	maps.Copy(settings, overrides)
	c, err := decode(clean, settings)
	if err != nil {
		if len(faults) == 0 { // mapstructure repeats what was found already
			faults = append(faults, Fault{0, oneLine(err)})
		}
	} else {
		faults = append(faults, read.locate(c.Validate())...)
	}
	if len(faults) > 0 {
		slices.SortStableFunc(faults, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
		return Config{}, &Error{Source: orDefaults(path), Faults: faults}
	}
	c.Source = orDefaults(path)
	return c, nil
}

// readFile reads the configuration file. Its errors say what to do.
func readFile(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("no configuration file at %s; write one with 'ichor check --example' or leave --config out", path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("configuration %s: this user may not read it; run as root or as a member of its group, or use --config with another file (/dev/null: the defaults)", path)
	case err != nil:
		return nil, fmt.Errorf("configuration %s: %s", path, oneLine(err))
	}
	return text, nil
}

// decode applies defaults, the text of a file, the environment and the overrides, in this order.
func decode(text []byte, overrides map[string]any) (c Config, err error) {
	v := viper.New()
	setDefaults(v, "", reflect.TypeFor[Config]())
	v.SetEnvPrefix("ICHOR")
	v.SetEnvKeyReplacer(strings.NewReplacer(".", "_"))
	v.AutomaticEnv()
	v.SetConfigType("yaml")
	if err := v.ReadConfig(bytes.NewReader(text)); err != nil {
		return c, err
	}
	for key, value := range overrides {
		v.Set(key, value)
	}
	err = v.UnmarshalExact(&c, viper.DecodeHook(times))
	if c.State == "" {
		c.State = defaultState()
	}
	return c, err
}

// Default returns the defaults, without file, environment and flags, and without a state folder.
func Default() Config {
	v := viper.New()
	setDefaults(v, "", reflect.TypeFor[Config]())
	var c Config
	if err := v.UnmarshalExact(&c, viper.DecodeHook(times)); err != nil {
		panic(err) // a default tag does not fit its field; TestExampleIsTheDefault fails then
	}
	return c
}

// retiredSeries says what to write in place of keys of version 0.1.
const retiredSeries = "since 0.2.0 reporting.series is a list: write - {object: SEG, number: 9001} in place of seg_number: 9001"

func orDefaults(path string) string {
	if path == "" {
		return Defaults
	}
	return path
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// times parses times such as 30s. It refuses a number without a unit: Go would read it as nanoseconds, and
// "retention: 7" would delete every study at once.
func times(_, to reflect.Type, value any) (any, error) {
	if to != reflect.TypeFor[time.Duration]() || value == 0 {
		return value, nil
	}
	if text, ok := value.(string); ok {
		if d, err := time.ParseDuration(text); err == nil {
			return d, nil
		}
	}
	return nil, fmt.Errorf("%v: write a time with its unit, such as 30s or 24h", value)
}

// defaultState follows systemd's StateDirectory=, then the XDG base directories.
func defaultState() string {
	if dir := os.Getenv("STATE_DIRECTORY"); dir != "" {
		return dir
	}
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "ichor")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "state", "ichor")
	}
	return "/var/lib/ichor"
}

func setDefaults(v *viper.Viper, prefix string, t reflect.Type) {
	for f := range fields(t) {
		key := prefix + f.Tag.Get("mapstructure")
		switch {
		case f.Type.Kind() == reflect.Struct:
			setDefaults(v, key+".", f.Type)
		case f.Type.Kind() == reflect.Slice:
		default:
			v.SetDefault(key, f.Tag.Get("default"))
		}
	}
}

// Loopback reports whether a listening address can be reached only from this machine.
func Loopback(address string) bool {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return strings.HasPrefix(address, "localhost:")
	}
	return ap.Addr().IsLoopback()
}

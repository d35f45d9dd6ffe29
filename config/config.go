// Package config reads ichor's settings: defaults, then a YAML file, then ICHOR_... environment variables, then flags.
//
// The struct below is the only place where a setting is declared: its tags hold the key, the default and the words of
// the example file. Unknown keys in the file are errors.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/viper"
)

// Config is everything an operator can set.
type Config struct {
	State           string        `mapstructure:"state" default:"" doc:"Folder for received objects, cases and results. Empty: /var/lib/ichor as a service, the user's state folder otherwise."`
	DICOM           DICOM         `mapstructure:"dicom" doc:"The receiving DICOM node."`
	Destinations    []Destination `mapstructure:"destinations" doc:"Nodes that get the results, by DICOM or DICOMweb. Each has a queue of its own."`
	Delivery        Delivery      `mapstructure:"delivery" doc:"How results are sent."`
	Assembly        Assembly      `mapstructure:"assembly" doc:"When a study counts as complete."`
	Reporting       Reporting     `mapstructure:"reporting" doc:"What the result objects look like."`
	Analysis        Analysis      `mapstructure:"analysis" doc:"The networks and the machine they run on."`
	Queue           Queue         `mapstructure:"queue" doc:"Work queue between reception and analysis."`
	Retention       time.Duration `mapstructure:"retention" default:"168h" doc:"Received studies and results are removed this long after the last result was delivered."`
	RetentionFailed time.Duration `mapstructure:"retention_failed" default:"720h" doc:"The same for studies that came to no end: analysis failed, results with the dead letters or for a destination that is not configured any more."`
	RetentionGiB    int           `mapstructure:"retention_gib" default:"0" doc:"Delivered studies are removed before their time when received studies take more than this, oldest first. 0: when less than twice dicom.reserve_mib is free."`
	HTTP            HTTP          `mapstructure:"http" doc:"Dashboard, health, metrics, and cases as JSON."`
	Log             Log           `mapstructure:"log" doc:"Log lines go to standard error; they carry no patient attribute."`
}

// DICOM is the receiving node.
type DICOM struct {
	Listen          string        `mapstructure:"listen" default:"127.0.0.1:11112" doc:"Address to listen on; systemd: the socket that ichor.socket passes; empty: none, TLS alone. Beyond loopback, peers must be listed."`
	TLS             TLS           `mapstructure:"tls" doc:"DICOM over TLS 1.2 or 1.3, here and at destinations. Files that change are read again, without a restart."`
	AETitle         string        `mapstructure:"ae_title" default:"ICHOR" doc:"Our application entity title."`
	CheckCalledAE   bool          `mapstructure:"check_called_ae" default:"true" doc:"Reject associations that call another title."`
	Peers           []Peer        `mapstructure:"peers" doc:"Who may talk to us. An empty list admits everyone, on loopback only."`
	MaxAssociations int           `mapstructure:"max_associations" default:"64" doc:"Further ones are rejected as transient, so that the peer tries again."`
	MaxPerPeer      int           `mapstructure:"max_per_peer" default:"16" doc:"The same for each peer, so that one cannot take the places of all."`
	MaxObjectMiB    int           `mapstructure:"max_object_mib" default:"4096" doc:"Larger objects are refused."`
	ReserveMiB      int           `mapstructure:"reserve_mib" default:"1024" doc:"Objects are refused (A700H) when less disk space than this is left."`
	PreparedMiB     int           `mapstructure:"prepared_mib" default:"512" doc:"Disk space that is written ahead while nothing is received, in files of 64 MiB: objects are on disk sooner by it. Given up where the disk is short. 0: none."`
	RequestTimeout  time.Duration `mapstructure:"request_timeout" default:"30s" doc:"A connection must send its association request, and close after a release, within this time (ARTIM)."`
	IdleTimeout     time.Duration `mapstructure:"idle_timeout" default:"1m" doc:"An association that stays silent this long between two objects is aborted. Until then its studies are not complete."`
	ReadTimeout     time.Duration `mapstructure:"read_timeout" default:"1m" doc:"Within an object at least 16 KiB must arrive in this time."`
}

// Systemd as an address means the sockets that the service manager passes (systemd.socket(5)).
const Systemd = "systemd"

// TLS is DICOM over TLS.
type TLS struct {
	Listen        string `mapstructure:"listen" default:"" doc:"Address for DICOM over TLS, such as 0.0.0.0:2762; systemd: the socket that ichor-tls.socket passes; empty: none."`
	Certificate   string `mapstructure:"certificate" default:"" doc:"PEM file of our certificate, followed by those that signed it."`
	Key           string `mapstructure:"key" default:"" doc:"PEM file of its private key."`
	CA            string `mapstructure:"ca" default:"" doc:"PEM file of the authorities that sign the certificates of peers and destinations."`
	CRL           string `mapstructure:"crl" default:"" doc:"File with the revocation lists of those authorities, PEM or DER: who shows a certificate on them is not let in, and not called. Empty: none are looked at."`
	RequireClient bool   `mapstructure:"require_client_certificate" default:"true" doc:"Peers must show a certificate, too (mutual authentication)."`
}

// Peer is a caller that is let in.
type Peer struct {
	AETitle         string   `mapstructure:"ae_title" sample:"PACS1" doc:"Calling application entity title."`
	Addresses       []string `mapstructure:"addresses" sample:"[10.1.2.0/24]" doc:"Address ranges it may call from; empty: any."`
	Certificates    []string `mapstructure:"certificates" sample:"[router.example.org]" doc:"TLS certificates it must show one of: common name, DNS name, address, whole subject, or sha256:FINGERPRINT. Empty: none is asked for."`
	Username        string   `mapstructure:"username" sample:"router" doc:"User identity it must give. Empty: none is asked for."`
	Passcode        string   `mapstructure:"passcode" sample:"secret" doc:"Passcode of that user; without TLS everyone on the way can read it."`
	MaxAssociations int      `mapstructure:"max_associations" sample:"16" doc:"At a time; 0: as dicom.max_per_peer."`
	Address         string   `mapstructure:"address" sample:"10.1.2.3:104" doc:"host:port where it listens: it gets the results of Storage Commitment there. Empty: on the association on which it asked."`
	TLS             bool     `mapstructure:"tls" sample:"false" doc:"Call it there over TLS, with the files under dicom.tls."`
	Find            bool     `mapstructure:"find" sample:"false" doc:"Ask it there by C-FIND how many objects a study has, so that it is complete when they are here. For an archive that has a whole study before it sends it."`
}

// Destination is a node that gets results: a DICOM peer by address and title, or a DICOMweb service by URL.
type Destination struct {
	Name          string `mapstructure:"name" sample:"pacs" doc:"Name in logs and in status."`
	Address       string `mapstructure:"address" sample:"10.1.2.3:104" doc:"host:port"`
	AETitle       string `mapstructure:"ae_title" sample:"PACS1" doc:"Its application entity title."`
	TLS           bool   `mapstructure:"tls" sample:"false" doc:"Call it over TLS, with the files under dicom.tls."`
	ServerName    string `mapstructure:"server_name" sample:"pacs.example.org" doc:"Name in its certificate; empty: the host of its address."`
	URL           string `mapstructure:"url" sample:"https://pacs.example.org/dicom-web" doc:"Of a DICOMweb service, to store by STOW-RS, in place of address, ae_title and tls."`
	TokenFile     string `mapstructure:"token_file" sample:"/etc/ichor/pacs.token" doc:"File with a bearer token for url."`
	PasswordFile  string `mapstructure:"password_file" sample:"/etc/ichor/pacs.password" doc:"File with user:password for url."`
	CA            string `mapstructure:"ca" sample:"/etc/ichor/pacs-ca.pem" doc:"PEM file of the authorities that sign the certificate of url; empty: those of the system."`
	Associations  int    `mapstructure:"associations" sample:"1" doc:"At a time, 1 to 16."`
	Commitment    bool   `mapstructure:"commitment" sample:"false" doc:"Ask for Storage Commitment; what it does not commit to is sent again. It must know our title, host and port."`
	Segmentation  string `mapstructure:"segmentation" sample:"binary" doc:"binary, which every viewer knows, or labelmap (Label Map Segmentation Storage) for a destination that takes it."`
	RejectionNote bool   `mapstructure:"rejection_note" sample:"false" doc:"When a newer result takes the place of one that it has: send a Key Object Selection that rejects the former objects (IHE RAD IOCM), before the new ones. For an archive that hides what is rejected."`
	Deflate       bool   `mapstructure:"deflate" sample:"false" doc:"Offer segmentations in Deflated Explicit VR Little Endian as well, used where it accepts that: some tens of times smaller."`
	Username      string `mapstructure:"username" sample:"ichor" doc:"User identity to give. Empty: none."`
	Passcode      string `mapstructure:"passcode" sample:"secret" doc:"Passcode of that user; without TLS everyone on the way can read it."`
}

// Delivery is how results are sent.
type Delivery struct {
	FirstRetry time.Duration `mapstructure:"first_retry" default:"5s" doc:"Wait after the first failure; it doubles from there."`
	MaxRetry   time.Duration `mapstructure:"max_retry" default:"10m" doc:"Longest wait between tries."`
	MaxAge     time.Duration `mapstructure:"max_age" default:"168h" doc:"An object that could not be sent for this long goes to the dead letters."`
}

// Assembly is when a study counts as complete.
type Assembly struct {
	QuietPeriod time.Duration `mapstructure:"quiet_period" default:"30s" doc:"Complete after this silence, with no association still sending the study."`
	Limit       time.Duration `mapstructure:"limit" default:"15m" doc:"Complete this long after its first object, come what may."`
}

// Analysis is the networks and where they run.
type Analysis struct {
	Bundle     string `mapstructure:"bundle" default:"" doc:"Folder of the model bundle. Empty: the one that came with ichor."`
	Library    string `mapstructure:"library" default:"" doc:"Path of libonnxruntime.so. Empty: the one that came with ichor."`
	Provider   string `mapstructure:"provider" default:"cpu" doc:"Execution provider: cpu, openvino, cuda or tensorrt. One that is missing is an error, never a silent fallback."`
	Precision  string `mapstructure:"precision" default:"float32" doc:"float32 or int8. int8 is faster on processors with VNNI and needs a bundle that has it; 'ichor models list' shows what it changes."`
	Workers    int    `mapstructure:"workers" default:"1" doc:"Studies analysed at the same time."`
	Threads    int    `mapstructure:"threads" default:"0" doc:"Threads a network may use. 0: one for each core."`
	MinSlices  int    `mapstructure:"min_slices" default:"10" doc:"Series with fewer slices are not analysed."`
	MinAge     int    `mapstructure:"min_age" default:"18" doc:"Studies of younger patients, in years, are refused; the networks that come with ichor know adults. 0: any age is analysed."`
	Contrast   bool   `mapstructure:"contrast" default:"false" doc:"Analyse a contrast-enhanced series, with a warning, where the study has none without agent. false: refuse it."`
	BoneKernel bool   `mapstructure:"bone_kernel" default:"false" doc:"Analyse a series with a sharp kernel, with a warning, where the study has none for soft tissue. false: refuse it."`
	MaxTries   int    `mapstructure:"max_tries" default:"3" doc:"An analysis that fails this often goes to the dead letters."`
}

// Queue is the work queue.
type Queue struct {
	URL string `mapstructure:"url" default:"" doc:"nats://host:4222 of an external NATS with JetStream. Empty: an embedded one that listens nowhere."`
}

// HTTP is the local web interface.
type HTTP struct {
	Listen string `mapstructure:"listen" default:"127.0.0.1:8080" doc:"Address of the dashboard, /healthz, /readyz, /metrics and /api/v1/cases. Empty: none. Beyond loopback a token is required."`
	Token  string `mapstructure:"token" default:"" doc:"Bearer token for everything but health. A browser asks for it as a password, under any user name, to show the dashboard."`
}

// Log is how much is logged.
type Log struct {
	Level  string `mapstructure:"level" default:"info" doc:"debug, info, warn or error."`
	Format string `mapstructure:"format" default:"text" doc:"text or json."`
}

// DefaultPath is read when it exists and no other file is named.
const DefaultPath = "/etc/ichor/ichor.yaml"

// Load reads the settings. An empty path means DefaultPath where that exists, else defaults alone. overrides are set
// last, by dotted key: the command line.
func Load(path string, overrides map[string]any) (Config, error) {
	v := viper.New()
	setDefaults(v, "", reflect.TypeFor[Config]())
	v.SetEnvPrefix("ICHOR")
	v.SetEnvKeyReplacer(strings.NewReplacer(".", "_"))
	v.AutomaticEnv()
	if path == "" {
		if _, err := os.Stat(DefaultPath); err == nil {
			path = DefaultPath
		}
	}
	if path != "" {
		v.SetConfigFile(path)
		v.SetConfigType("yaml")
		if err := v.ReadInConfig(); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return Config{}, fmt.Errorf("no configuration file at %s; write one with 'ichor check --example' or leave --config out", path)
			}
			if errors.Is(err, fs.ErrPermission) {
				return Config{}, fmt.Errorf("configuration %s may not be read by this user; run as root or in its group, or name another with --config, /dev/null for the defaults", path)
			}
			return Config{}, fmt.Errorf("configuration %s: %s", path, oneLine(err))
		}
	}
	for key, value := range overrides {
		v.Set(key, value)
	}
	var c Config
	if err := v.UnmarshalExact(&c, viper.DecodeHook(times)); err != nil {
		return Config{}, fmt.Errorf("configuration %s: %s; 'ichor check --example' prints every key", orDefaults(path), oneLine(err))
	}
	if c.State == "" {
		c.State = defaultState()
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", orDefaults(path), err)
	}
	return c, nil
}

// Default returns the settings as the tags have them, without file, environment and flags, and without a state folder.
func Default() Config {
	v := viper.New()
	setDefaults(v, "", reflect.TypeFor[Config]())
	var c Config
	if err := v.UnmarshalExact(&c, viper.DecodeHook(times)); err != nil {
		panic(err) // a default tag that is no value of its field; TestExampleIsTheDefault would have failed
	}
	return c
}

func orDefaults(path string) string {
	if path == "" {
		return "(defaults and environment)"
	}
	return path
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// times reads times such as 30s. A bare number is refused: Go would take it for nanoseconds, and "retention: 7" for the
// wish to remove every study at once.
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

// Loopback reports whether a listening address can be reached from this machine alone.
func Loopback(address string) bool {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return strings.HasPrefix(address, "localhost:")
	}
	return ap.Addr().IsLoopback()
}

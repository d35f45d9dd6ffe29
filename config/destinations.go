package config

import (
	"fmt"
	"net/url"
)

// LabelMap is the value of Destination.Segmentation for label maps.
const LabelMap = "labelmap"

// validate requires either a DICOM peer or a DICOMweb service, not a mixture of both.
func (d *Destination) validate(key string) error {
	if d.Associations < 0 || d.Associations > 16 {
		return fmt.Errorf("%s.associations %d: write 1 to 16", key, d.Associations)
	}
	if d.Segmentation != "" && d.Segmentation != "binary" && d.Segmentation != LabelMap {
		return fmt.Errorf("%s.segmentation %q: write binary or labelmap", key, d.Segmentation)
	}
	if d.URL != "" {
		return d.validateURL(key)
	}
	switch {
	case d.TokenFile != "" || d.PasswordFile != "" || d.CA != "":
		return fmt.Errorf("%s: token_file, password_file and ca are for a DICOMweb service; set url, or remove them", key)
	case !hostPort(d.Address):
		return fmt.Errorf("%s.address %q: write host:port, such as 10.1.2.3:104", key, d.Address)
	}
	return aeTitle(key+".ae_title", d.AETitle)
}

func (d *Destination) validateURL(key string) error {
	u, err := url.Parse(d.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("%s.url: write https://host/path of the DICOMweb service", key)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%s.url: remove user, query and fragment; use token_file or password_file for credentials", key)
	case d.Address != "" || d.AETitle != "" || d.TLS || d.Username != "":
		return fmt.Errorf("%s: use either url, or address, ae_title, tls and username", key)
	case d.Deflate:
		return fmt.Errorf("%s.deflate: STOW-RS has no negotiation of transfer syntaxes; set it to false", key)
	case d.TokenFile != "" && d.PasswordFile != "":
		return fmt.Errorf("%s: give either token_file or password_file", key)
	case u.Scheme == "http" && (d.CA != "" || d.ServerName != ""):
		return fmt.Errorf("%s: ca and server_name are for https", key)
	case u.Scheme == "http" && (d.TokenFile != "" || d.PasswordFile != "") && !Loopback(u.Host):
		return fmt.Errorf("%s.url: over http anyone on the network path can read the credentials; use https", key)
	}
	return nil
}

package web

import (
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// There are three ways to be known: the bearer token, which allows everything; the token as the password of a browser, and the
// name that a trusted reverse proxy gives, which both allow only reading.

// secured reports whether requests must be from someone known.
func (o Options) secured() bool { return o.Token != "" || o.UserHeader != "" }

// bearer reports whether a request has the token, or nothing is required.
func (o Options) bearer(r *http.Request) bool {
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return !o.secured() || ok && o.Token != "" && same(given, o.Token)
}

// proxied returns the user that a reverse proxy has logged in.
func (o Options) proxied(r *http.Request) (user string, ok bool) {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if o.UserHeader == "" || err != nil {
		return "", false
	}
	user = r.Header.Get(o.UserHeader)
	return user, user != "" && slices.ContainsFunc(o.Proxies, func(p netip.Prefix) bool { return p.Contains(from.Addr().Unmap()) })
}

// reader returns who reads a page, and false for someone unknown. Without a token everyone on this machine reads, without a name.
func (o Options) reader(r *http.Request) (user string, ok bool) {
	if user, ok := o.proxied(r); ok {
		return user, true
	}
	if o.bearer(r) {
		return "", true
	}
	user, password, given := r.BasicAuth()
	return user, given && o.Token != "" && same(password, o.Token)
}

// same compares two strings in constant time.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// authorized checks a request to the interface, and sends the error response if it has no right. Only the token gives orders.
func (o Options) authorized(w http.ResponseWriter, r *http.Request) bool {
	if o.bearer(r) {
		return true
	}
	if _, ok := o.proxied(r); ok && r.Method == http.MethodGet {
		return true
	}
	o.deny(w, r, `Bearer realm="ichor"`, "a bearer token is required: the value of http.token")
	return false
}

// admitted checks whether a request may read the pages. A browser asks its user for a password, which is the token, with any user
// name. A password allows only reading; orders require the bearer token, which no browser sends by itself.
func (o Options) admitted(w http.ResponseWriter, r *http.Request) bool {
	if _, ok := o.reader(r); ok {
		return o.here(w, r)
	}
	o.deny(w, r, `Basic realm="ichor", charset="UTF-8"`, "a password is required: the value of http.token, with any user name")
	return false
}

// deny answers 401. A wrong token is reported and delays the answer, longer with each one of the same address.
func (o Options) deny(w http.ResponseWriter, r *http.Request, challenge, text string) {
	if r.Header.Get("Authorization") != "" {
		address, _, _ := net.SplitHostPort(r.RemoteAddr)
		times := o.wrong.count(address, time.Now())
		wait := o.WrongWait << min(times-1, 4)
		if o.Denied != nil {
			o.Denied(address, times)
		}
		select {
		case <-time.After(wait):
		case <-r.Context().Done():
		}
	}
	w.Header().Set("WWW-Authenticate", challenge)
	w.Header().Set("Connection", "close") // do not wait for the body of an unknown sender
	http.Error(w, text, http.StatusUnauthorized)
}

// here rejects a request to a name other than those of this machine, if no token is set. Otherwise a foreign site could point its
// own name to the address of this machine and read what its visitor may read (DNS rebinding).
func (o Options) here(w http.ResponseWriter, r *http.Request) bool {
	if o.secured() || ofThisMachine(r.Host) {
		return true
	}
	http.Error(w, "use localhost, 127.0.0.1 or [::1]; to use another name, set http.token", http.StatusForbidden)
	return false
}

const (
	forgetting = 15 * time.Minute // after which an address begins again
	mostWrong  = 1000             // addresses that are remembered
)

// wrongTokens counts wrong tokens by address.
type wrongTokens struct {
	mu sync.Mutex
	of map[string]attempts
}

type attempts struct {
	times int
	last  time.Time
}

// count adds a wrong token, and returns how many there were.
func (t *wrongTokens) count(address string, now time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.of) >= mostWrong {
		for a, x := range t.of {
			if now.Sub(x.last) > forgetting || len(t.of) >= mostWrong {
				delete(t.of, a)
			}
		}
	}
	x := t.of[address]
	if now.Sub(x.last) > forgetting {
		x.times = 0
	}
	x = attempts{x.times + 1, now}
	t.of[address] = x
	return x.times
}

// looks remembers who looked at what in the last hour, so that a page that reloads itself is one event.
type looks struct {
	mu   sync.Mutex
	last map[[3]string]time.Time
}

const (
	lookAgain = time.Hour
	mostLooks = 10_000
)

// looked reports that someone saw a page or a case.
func (o Options) looked(r *http.Request, what string) {
	if o.Looked == nil {
		return
	}
	user, _ := o.reader(r)
	address, _, _ := net.SplitHostPort(r.RemoteAddr)
	key, now := [3]string{user, address, what}, time.Now()
	o.seen.mu.Lock()
	last, ok := o.seen.last[key]
	again := ok && now.Sub(last) < lookAgain
	if !again {
		if len(o.seen.last) >= mostLooks {
			clear(o.seen.last)
		}
		o.seen.last[key] = now
	}
	o.seen.mu.Unlock()
	if !again {
		o.Looked(user, address, what)
	}
}

package server

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// behind believes what listed reverse proxies say of the client, and removes
// what others say: everything after it sees the request as the client made it.
// The scheme is in URL.Scheme.
func behind(proxies []netip.Prefix, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !listed(proxies, peer.Addr()) {
			for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
				r.Header.Del(name)
			}
			next.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, forwarded(proxies, r))
	})
}

func listed(proxies []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// forwarded returns the request as the client made it. Proxies append to these
// headers, so only the last value is that of the proxy we know; for addresses,
// the last that is not itself a listed proxy.
func forwarded(proxies []netip.Prefix, r *http.Request) *http.Request {
	out := new(http.Request)
	*out = *r
	out.URL = new(url.URL)
	*out.URL = *r.URL
	addresses := values(r.Header, "X-Forwarded-For")
	for _, text := range slices.Backward(addresses) {
		a, err := netip.ParseAddr(text)
		if err != nil {
			break
		}
		out.RemoteAddr = netip.AddrPortFrom(a, 0).String()
		if !listed(proxies, a) {
			break
		}
	}
	if hosts := values(r.Header, "X-Forwarded-Host"); len(hosts) > 0 {
		out.Host = hosts[len(hosts)-1]
	}
	if schemes := values(r.Header, "X-Forwarded-Proto"); len(schemes) > 0 {
		if scheme := strings.ToLower(schemes[len(schemes)-1]); scheme == "https" || scheme == "http" {
			out.URL.Scheme = scheme
		}
	}
	return out
}

// values splits a header that may be repeated and holds lists.
func values(h http.Header, name string) []string {
	var all []string
	for _, line := range h.Values(name) {
		for item := range strings.SplitSeq(line, ",") {
			if item = strings.TrimSpace(item); item != "" {
				all = append(all, item)
			}
		}
	}
	return all
}

package certs

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/acme"
)

// acmeServer is a small ACME authority (RFC 8555): one order at a time, the
// challenge is validated for real, signatures of requests are not looked at.
type acmeServer struct {
	t         *testing.T
	url       string
	issuer    *Authority
	challenge string                                                   // the type that is offered
	dial      func(ctx context.Context, port string) (net.Conn, error) // to the host of every order

	mu       sync.Mutex
	client   *http.Client
	key      crypto.PublicKey // of the account
	host     string
	valid    bool // the challenge
	chain    []byte
	orders   int
	contacts []string
}

func newACMEServer(t *testing.T, challenge string, dial func(context.Context, string) (net.Conn, error)) *acmeServer {
	s := &acmeServer{t: t, issuer: ward(t), challenge: challenge, dial: dial}
	mux := http.NewServeMux()
	mux.HandleFunc("/directory", func(w http.ResponseWriter, _ *http.Request) {
		s.answer(w, 200, map[string]any{"newNonce": s.url + "/nonce", "newAccount": s.url + "/account", "newOrder": s.url + "/order-new"})
	})
	mux.HandleFunc("/nonce", func(http.ResponseWriter, *http.Request) {})
	for path, handle := range map[string]func(http.ResponseWriter, []byte){
		"/account": s.account, "/order-new": s.newOrder, "/order": s.order, "/authorization": s.authorization,
		"/challenge": s.accept, "/finalize": s.finalize, "/certificate": s.certificate,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			payload, err := s.open(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			handle(w, payload)
		})
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Replay-Nonce", "nonce")
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.url, s.client = server.URL, server.Client()
	return s
}

// open reads a JWS (RFC 7515) and remembers the account's key.
func (s *acmeServer) open(r *http.Request) ([]byte, error) {
	var jws struct{ Protected, Payload string }
	if err := json.NewDecoder(r.Body).Decode(&jws); err != nil {
		return nil, err
	}
	header, err := base64.RawURLEncoding.DecodeString(jws.Protected)
	if err != nil {
		return nil, err
	}
	var h struct{ JWK *struct{ X, Y string } }
	if err := json.Unmarshal(header, &h); err != nil {
		return nil, err
	}
	if h.JWK != nil {
		x, errX := base64.RawURLEncoding.DecodeString(h.JWK.X)
		y, errY := base64.RawURLEncoding.DecodeString(h.JWK.Y)
		if errX != nil || errY != nil {
			return nil, fmt.Errorf("key: %v, %v", errX, errY)
		}
		s.mu.Lock()
		s.key = &ecdsa.PublicKey{Curve: elliptic.P256(), X: new(big.Int).SetBytes(x), Y: new(big.Int).SetBytes(y)}
		s.mu.Unlock()
	}
	return base64.RawURLEncoding.DecodeString(jws.Payload)
}

func (s *acmeServer) answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that has gone fails by itself
}

func (s *acmeServer) account(w http.ResponseWriter, payload []byte) {
	var account struct{ Contact []string }
	if err := json.Unmarshal(payload, &account); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.contacts = account.Contact
	s.mu.Unlock()
	w.Header().Set("Location", s.url+"/account/1")
	s.answer(w, http.StatusCreated, map[string]any{"status": "valid"})
}

func (s *acmeServer) newOrder(w http.ResponseWriter, payload []byte) {
	var order struct{ Identifiers []struct{ Value string } }
	if err := json.Unmarshal(payload, &order); err != nil || len(order.Identifiers) != 1 {
		http.Error(w, "identifiers", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.host, s.valid, s.chain = order.Identifiers[0].Value, false, nil
	s.orders++
	s.mu.Unlock()
	w.Header().Set("Location", s.url+"/order")
	s.answer(w, http.StatusCreated, s.orderBody())
}

func (s *acmeServer) orderBody() map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := "pending"
	switch {
	case s.chain != nil:
		status = "valid"
	case s.valid:
		status = "ready"
	}
	return map[string]any{
		"status": status, "identifiers": []any{map[string]string{"type": "dns", "value": s.host}},
		"authorizations": []string{s.url + "/authorization"}, "finalize": s.url + "/finalize", "certificate": s.url + "/certificate",
	}
}

func (s *acmeServer) order(w http.ResponseWriter, _ []byte) {
	w.Header().Set("Location", s.url+"/order")
	s.answer(w, 200, s.orderBody())
}

const acmeToken = "dG9rZW4"

func (s *acmeServer) challengeBody(status string) map[string]any {
	return map[string]any{"type": s.challenge, "url": s.url + "/challenge", "token": acmeToken, "status": status}
}

func (s *acmeServer) authorization(w http.ResponseWriter, _ []byte) {
	s.mu.Lock()
	status := "pending"
	if s.valid {
		status = "valid"
	}
	host := s.host
	s.mu.Unlock()
	s.answer(w, 200, map[string]any{
		"status": status, "identifier": map[string]string{"type": "dns", "value": host}, "challenges": []any{s.challengeBody(status)},
	})
}

// accept validates the challenge.
func (s *acmeServer) accept(w http.ResponseWriter, _ []byte) {
	s.mu.Lock()
	key, host := s.key, s.host
	s.mu.Unlock()
	thumb, err := acme.JWKThumbprint(key)
	if err == nil {
		if s.challenge == "http-01" {
			err = s.fetch(host, acmeToken+"."+thumb)
		} else {
			err = s.handshake(host, sha256.Sum256([]byte(acmeToken+"."+thumb)))
		}
	}
	if err != nil {
		s.t.Logf("%s for %s: %v", s.challenge, host, err)
		s.answer(w, 200, s.challengeBody("invalid"))
		return
	}
	s.mu.Lock()
	s.valid = true
	s.mu.Unlock()
	s.answer(w, 200, s.challengeBody("valid"))
}

// fetch is HTTP-01, RFC 8555 section 8.3.
func (s *acmeServer) fetch(host, want string) error {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return s.dial(ctx, "80") }}
	response, err := (&http.Client{Transport: transport, Timeout: 5 * time.Second}).Get("http://" + host + "/.well-known/acme-challenge/" + acmeToken)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || string(body) != want {
		return fmt.Errorf("got %q, %v; want %q", body, err, want)
	}
	return nil
}

// handshake is TLS-ALPN-01, RFC 8737 section 3.
func (s *acmeServer) handshake(host string, want [32]byte) error {
	raw, err := s.dial(context.Background(), "443")
	if err != nil {
		return err
	}
	defer raw.Close()
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, ServerName: host, NextProtos: []string{acme.ALPNProto}})
	if err := c.Handshake(); err != nil {
		return err
	}
	state := c.ConnectionState()
	if state.NegotiatedProtocol != acme.ALPNProto {
		return fmt.Errorf("negotiated %q", state.NegotiatedProtocol)
	}
	for _, x := range state.PeerCertificates[0].Extensions {
		if x.Id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}) && x.Critical && strings.HasSuffix(string(x.Value), string(want[:])) {
			return nil
		}
	}
	return fmt.Errorf("no acmeIdentifier with the key authorization")
}

func (s *acmeServer) finalize(w http.ResponseWriter, payload []byte) {
	var request struct{ CSR string }
	der, err := []byte(nil), json.Unmarshal(payload, &request)
	if err == nil {
		der, err = base64.RawURLEncoding.DecodeString(request.CSR)
	}
	var csr *x509.CertificateRequest
	if err == nil {
		csr, err = x509.ParseCertificateRequest(der)
	}
	s.mu.Lock()
	ready := s.valid
	s.mu.Unlock()
	if err != nil || !ready || len(csr.DNSNames) != 1 || csr.DNSNames[0] != s.host {
		http.Error(w, fmt.Sprintf("not ready: %v", err), http.StatusForbidden)
		return
	}
	template := &x509.Certificate{
		SerialNumber: newSerial(), NotBefore: time.Now().Add(-backdate), NotAfter: time.Now().Add(MinLifetime), DNSNames: csr.DNSNames,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := signFor(template, s.issuer, csr.PublicKey)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.mu.Lock()
	s.chain = append(pem.EncodeToMemory(&pem.Block{Type: pemCert, Bytes: cert}), encodeCert(s.issuer.cert)...)
	s.mu.Unlock()
	s.order(w, nil)
}

func (s *acmeServer) certificate(w http.ResponseWriter, _ []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/pem-certificate-chain")
	_, _ = w.Write(s.chain)
}

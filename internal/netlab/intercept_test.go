package netlab

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// intercepted is a lab with the proxy and a server behind it, which echoes on a
// WebSocket. It returns the authority that the client trusts.
func intercepted(t *testing.T) (*Lab, *Authority) {
	t.Helper()
	l := build(t, "intercept")
	own, err := NewAuthority("server")
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := own.Issue(Host)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := l.Server.Listen("tcp", ServerIPv4+":443")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	_ = server.Listener.Close() // ours takes its place
	server.Listener = listener
	server.TLS = &tls.Config{Certificates: []tls.Certificate{*certificate}}
	server.StartTLS()
	t.Cleanup(server.Close)
	shown, err := l.Intercept(own.Pool())
	if err != nil {
		t.Fatal(err)
	}
	return l, shown
}

func echo(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/socket" {
		_, _ = io.Copy(w, r.Body) // the client notices what is missing
		return
	}
	upgrader := websocket.Upgrader{}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil || conn.WriteMessage(kind, message) != nil {
			return
		}
	}
}

func (l *Lab) dialServer(ctx context.Context, network, _ string) (net.Conn, error) {
	return l.Client.Dial(ctx, network, ServerIPv4+":443")
}

func TestAnInterceptingProxyPassesHTTPAndWebSocketsUnderItsOwnName(t *testing.T) {
	l, authority := intercepted(t)
	trust := &tls.Config{RootCAs: authority.Pool(), ServerName: Host}
	client := &http.Client{Transport: &http.Transport{DialContext: l.dialServer, TLSClientConfig: trust}}
	defer client.CloseIdleConnections()
	for _, text := range []string{"first", "second on the same connection"} {
		response, err := client.Post("https://"+Host+"/", "text/plain", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || string(got) != text {
			t.Errorf("echo %q, %v; want %q", got, err, text)
		}
		if issuer := response.TLS.PeerCertificates[0].Issuer.CommonName; !strings.Contains(issuer, "intercepting") {
			t.Errorf("certificate of %q, want the proxy's", issuer)
		}
	}
	dialer := websocket.Dialer{NetDialContext: l.dialServer, TLSClientConfig: trust}
	conn, _, err := dialer.DialContext(t.Context(), "wss://"+Host+"/socket", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.WriteMessage(websocket.BinaryMessage, []byte{0, 1, 2}); err != nil {
		t.Fatal(err)
	}
	if _, got, err := conn.ReadMessage(); err != nil || len(got) != 3 {
		t.Errorf("echo %v, %v", got, err)
	}
}

func TestAnInterceptingProxyResetsWhatIsNotHTTP(t *testing.T) {
	l, authority := intercepted(t)
	for name, first := range map[string][]byte{
		"STUN":            {0, 3, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0},
		"RFC 4571 frame":  {0, 20, 0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42},
		"TLS inside TLS":  {0x16, 3, 1, 0, 200, 1},
		"not quite HTTP":  []byte("GET\r\n\r\n"),
		"words, no verbs": []byte("hello\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := l.dialServer(t.Context(), "tcp", "")
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			conn := tls.Client(raw, &tls.Config{RootCAs: authority.Pool(), ServerName: Host})
			if _, err := conn.Write(first); err != nil {
				t.Fatal(err)
			}
			if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read: %v, want a reset", err)
			}
		})
	}
	t.Run("no TLS", func(t *testing.T) {
		raw, err := l.dialServer(t.Context(), "tcp", "")
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		if _, err := raw.Write([]byte("GET / HTTP/1.1\r\nHost: " + Host + "\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(raw), nil)
		if err == nil {
			t.Errorf("answered %s, want nothing", response.Status)
		}
	})
}

func TestMappingsAreReadFromConntrack(t *testing.T) {
	const list = `udp      17 4 src=10.9.0.2 dst=203.0.113.10 sport=40001 dport=443 src=203.0.113.10 dst=198.51.100.1 sport=443 dport=1025 [ASSURED] mark=0 use=1
udp      17 29 src=10.9.0.2 dst=203.0.113.10 sport=40002 dport=443 [UNREPLIED] src=203.0.113.10 dst=198.51.100.1 sport=443 dport=61000 mark=0 use=1
udp      17 29 src=10.9.0.2 dst=203.0.113.10 sport=40003 dport=3478 src=203.0.113.10 dst=198.51.100.1 sport=3478 dport=61001 mark=0 use=1
`
	got := parseMappings(list)
	if len(got) != 2 || got[40001] != 1025 || got[40002] != 61000 {
		t.Errorf("mappings %v", got)
	}
}

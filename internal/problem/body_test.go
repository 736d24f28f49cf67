package problem

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestWhoSendsTooMuchReadsWhy sends everything before it reads, as simple
// clients do: the answer must not be lost to a connection that was reset.
func TestWhoSendsTooMuchReadsWhy(t *testing.T) {
	const limit = 1000
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, p := ReadBody(w, r, limit, BadRequest)
		if p != nil {
			p.Write(w)
			return
		}
		fmt.Fprint(w, len(body))
	}))
	defer server.Close()
	for size, want := range map[int]string{0: "200", limit: "200", limit + 1: "413", 3 << 20: "413"} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		request := fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size))
		if _, err := io.WriteString(conn, request); err != nil {
			t.Errorf("%d bytes: send: %v", size, err)
		}
		status, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.HasPrefix(status, "HTTP/1.1 "+want) {
			t.Errorf("%d bytes: answer %q, %v; want %s", size, status, err, want)
		}
		_ = conn.Close()
	}
}

func TestABodyThatBreaksOffIsRefused(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/", io.MultiReader(strings.NewReader("half"), brokenReader{}))
	if _, p := ReadBody(httptest.NewRecorder(), r, 1000, BadJSON); p == nil || p.Status != http.StatusBadRequest || p.Code != BadJSON {
		t.Errorf("got %v", p)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

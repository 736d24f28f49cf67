package trial

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"consilium/internal/netlab"
)

// webhookAddress is where the server's events go, within its namespace.
const webhookAddress = "127.0.0.1:8081"

// notice is what the receiver of webhooks needs of an event.
type notice struct {
	Type        string    `json:"type"`
	Room        string    `json:"room"`
	Participant string    `json:"participant"`
	Time        time.Time `json:"time"`
	Code        string    `json:"-"`
	Arrived     time.Time `json:"-"`

	Data struct {
		Code string `json:"code"`
	} `json:"data"`
	TopCode string `json:"code"`
}

// receiver takes the webhooks of a server.
type receiver struct {
	server *http.Server
	done   chan struct{}

	mu      sync.Mutex
	notices []notice
}

func startReceiver(n netlab.Namespace) (*receiver, error) {
	listener, err := n.Listen("tcp", webhookAddress)
	if err != nil {
		return nil, err
	}
	r := &receiver{done: make(chan struct{})}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(r.done)
		_ = r.server.Serve(listener) // ends with close
	}()
	return r, nil
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	n := notice{Arrived: time.Now()}
	if err := json.NewDecoder(request.Body).Decode(&n); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	n.Code = n.TopCode
	if n.Code == "" {
		n.Code = n.Data.Code
	}
	r.mu.Lock()
	r.notices = append(r.notices, n)
	r.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

// failure returns the first failure of a participant in a room.
func (r *receiver) failure(room, identity string) (notice, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.notices {
		if n.Room == room && n.Participant == identity && n.Code != "" {
			return n, true
		}
	}
	return notice{}, false
}

func (r *receiver) close() error {
	err := r.server.Close()
	<-r.done
	return err
}

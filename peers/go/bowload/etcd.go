package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/clientv3"
)

// etcdTarget puts and gets keys through etcd's own client. Workers share one HTTP/2 connection, as etcd's clients do and as
// etcd's own benchmark does by default; "conns" is then the number of calls in flight.
type etcdTarget struct {
	o      options
	client *clientv3.Client
}

func newEtcd(o options) *etcdTarget { return &etcdTarget{o: o} }

func (t *etcdTarget) open() (*clientv3.Client, error) {
	if t.client == nil {
		client, err := clientv3.New(clientv3.Config{Endpoints: t.o.servers, DialTimeout: 5 * time.Second})
		if err != nil {
			return nil, err
		}
		t.client = client
	}
	return t.client, nil
}

func (t *etcdTarget) prepare(context.Context) error {
	_, err := t.open()
	return err
}

func (t *etcdTarget) connect(context.Context, int) (session, error) {
	client, err := t.open()
	if err != nil {
		return nil, err
	}
	return etcdSession{client}, nil
}

func (t *etcdTarget) leader(ctx context.Context) (string, error) {
	for _, address := range t.o.servers {
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{address}, DialTimeout: 500 * time.Millisecond})
		if err != nil {
			continue
		}
		one, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		status, err := client.Status(one, address)
		cancel()
		client.Close()
		if err == nil && status.Leader != 0 && status.Header.MemberId == status.Leader {
			return address, nil
		}
	}
	return "", errors.New("no endpoint says that it leads")
}

func (t *etcdTarget) membership(ctx context.Context) ([]member, error) {
	client, err := t.open()
	if err != nil {
		return nil, err
	}
	answer, err := client.MemberList(ctx)
	if err != nil {
		return nil, err
	}
	members := []member{}
	for _, m := range answer.Members {
		role := "voter"
		if m.IsLearner {
			role = "spare"
		}
		address := ""
		if len(m.ClientURLs) > 0 {
			address = m.ClientURLs[0]
		}
		members = append(members, member{m.ID, address, role})
	}
	return members, nil
}

func (t *etcdTarget) close() {
	if t.client != nil {
		t.client.Close()
	}
}

type etcdSession struct{ client *clientv3.Client }

func name(key int64) string { return fmt.Sprintf("/kv/%012d", key) }

func (s etcdSession) insert(ctx context.Context, key int64, value string) error {
	_, err := s.client.Put(ctx, name(key), value)
	return err
}

func (s etcdSession) read(ctx context.Context, key int64) error {
	answer, err := s.client.Get(ctx, name(key))
	if err == nil && len(answer.Kvs) != 1 {
		return fmt.Errorf("key %d is not there", key)
	}
	return err
}

func (s etcdSession) update(context.Context, int64, int) error {
	return errors.New("etcd has no table of updates")
}
func (s etcdSession) fill(context.Context, int, int) error {
	return errors.New("etcd has no table to fill")
}
func (s etcdSession) close() {}

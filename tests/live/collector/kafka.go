package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// serveKafka prints its address, and then the value of each message of the topic, a
// line each; it does not return.
func serveKafka(topic string) error {
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1), kfake.SeedTopics(1, topic),
	)
	if err != nil {
		return err
	}
	defer cluster.Close()
	addresses := cluster.ListenAddrs()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(addresses...), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	fmt.Println(addresses[0])
	for {
		fetches := client.PollFetches(context.Background())
		for _, problem := range fetches.Errors() {
			return problem.Err
		}
		fetches.EachRecord(func(record *kgo.Record) {
			fmt.Printf("%s\n", record.Value)
		})
	}
}

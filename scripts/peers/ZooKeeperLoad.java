import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.SplittableRandom;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/**
 * The load of `lab bench` for ZooKeeper, which speaks to nothing but its own client: a closed loop, a thread and a
 * connection a client, keys drawn uniformly from `key:000000000000` on, latency from the call to its return, on the
 * monotonic clock.
 *
 * usage: java ZooKeeperLoad HOST:PORT,... KEYS VALUE_SIZE
 *
 * It makes the keys and prints `ready`. Then each line `set|get CLIENTS OPS SEED` of its input is one run, answered by
 * one line `OPS,ERRORS,SECONDS,P50,P99,P99.9`, latencies in microseconds. One process does all runs, so that its
 * compiler has warmed up as the servers have. It ends with its input.
 */
public final class ZooKeeperLoad {
    private static final String ROOT = "/bench";
    private static final int SESSION_TIMEOUT_MS = 15_000;
    private static final int CONNECT_TIMEOUT_S = 30;

    /** Operations of each client before the measuring, at most a second of them, as in `lab bench`. */
    private static final int WARM_UP = 100;

    /** So many errors in a row, and a client takes the rest of its operations for errors too. */
    private static final int GIVE_UP = 10;

    /** Views of one random text at this many offsets are the values. */
    private static final int VALUES = 1024;

    private final String to;
    private final String[] paths;
    private final int valueSize;

    private ZooKeeperLoad(String to, int keys, int valueSize) {
        this.to = to;
        paths = new String[keys];
        for (int key = 0; key < keys; key++) {
            paths[key] = String.format(Locale.ROOT, ROOT + "/key:%012d", key);
        }
        this.valueSize = valueSize;
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length != 3) {
            System.err.println("ZooKeeperLoad: expected HOST:PORT,... KEYS VALUE_SIZE");
            System.exit(64);
        }
        ZooKeeperLoad load = new ZooKeeperLoad(
                arguments[0], Integer.parseInt(arguments[1]), Integer.parseInt(arguments[2]));
        load.makeKeys();
        say("ready");
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.trim().split(" ");
            say(load.run(words[0].equals("set"), Integer.parseInt(words[1]), Integer.parseInt(words[2]),
                    Long.parseLong(words[3])));
        }
        System.exit(0);
    }

    private static void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    /** Client `index` connects to one server, in turn, as a client of `lab bench` does. */
    private ZooKeeper connect(int index) throws Exception {
        String[] servers = to.split(",");
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeper client = new ZooKeeper(servers[index % servers.length], SESSION_TIMEOUT_MS, event -> {
            if (event.getState() == Watcher.Event.KeeperState.SyncConnected) {
                connected.countDown();
            }
        });
        if (!connected.await(CONNECT_TIMEOUT_S, TimeUnit.SECONDS)) {
            client.close();
            throw new IllegalStateException("no connection to " + to + " within " + CONNECT_TIMEOUT_S + " s");
        }
        return client;
    }

    private void makeKeys() throws Exception {
        ZooKeeper client = connect(0);
        create(client, ROOT, new byte[0]);
        Values values = new Values(new SplittableRandom(0), valueSize);
        for (String path : paths) {
            create(client, path, values.next());
        }
        client.close();
    }

    private static void create(ZooKeeper client, String path, byte[] value) throws Exception {
        try {
            client.create(path, value, ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        } catch (KeeperException.NodeExistsException exists) {
            client.setData(path, value, -1);
        }
    }

    private String run(boolean set, int clients, int ops, long seed) throws Exception {
        List<Client> all = new ArrayList<>();
        CountDownLatch warm = new CountDownLatch(clients);
        CountDownLatch start = new CountDownLatch(1);
        try {
            for (int index = 0; index < clients; index++) {
                int share = ops / clients + (index < ops % clients ? 1 : 0);
                all.add(new Client(index, set, share, seed, warm, start));
            }
            all.forEach(Thread::start);
            warm.await();
            long begin = System.nanoTime();
            start.countDown();
            for (Client client : all) {
                client.join();
            }
            return figures(all, System.nanoTime() - begin);
        } finally {
            start.countDown();
            for (Client client : all) {
                client.connection.close();
            }
        }
    }

    private static String figures(List<Client> clients, long nanos) {
        int done = clients.stream().mapToInt(client -> client.done).sum();
        int errors = clients.stream().mapToInt(client -> client.errors).sum();
        long[] latencies = new long[done];
        int at = 0;
        for (Client client : clients) {
            System.arraycopy(client.latencies, 0, latencies, at, client.done);
            at += client.done;
        }
        Arrays.sort(latencies);
        return String.format(Locale.ROOT, "%d,%d,%.6f,%.1f,%.1f,%.1f", done, errors, nanos / 1e9,
                percentile(latencies, 0.5), percentile(latencies, 0.99), percentile(latencies, 0.999));
    }

    private static double percentile(long[] sorted, double share) {
        if (sorted.length == 0) {
            return 0;
        }
        int rank = (int) Math.ceil(share * sorted.length);
        return sorted[Math.max(rank, 1) - 1] / 1e3;
    }

    /** Values of one size: printable, a new one each time. */
    private static final class Values {
        private static final String ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
        private final SplittableRandom random;
        private final byte[] text;
        private final int size;

        Values(SplittableRandom random, int size) {
            this.random = random;
            this.size = size;
            text = new byte[size + VALUES];
            for (int i = 0; i < text.length; i++) {
                text[i] = (byte) ALPHABET.charAt(random.nextInt(ALPHABET.length()));
            }
        }

        byte[] next() {
            int offset = random.nextInt(VALUES);
            return Arrays.copyOfRange(text, offset, offset + size);
        }
    }

    private final class Client extends Thread {
        final ZooKeeper connection;
        final long[] latencies;
        int done;
        int errors;
        private final boolean set;
        private final SplittableRandom random;
        private final Values values;
        private final CountDownLatch warm;
        private final CountDownLatch start;

        Client(int index, boolean set, int ops, long seed, CountDownLatch warm, CountDownLatch start)
                throws Exception {
            super("client-" + index);
            connection = connect(index);
            latencies = new long[ops];
            this.set = set;
            random = new SplittableRandom(seed * 1_000_003 + index);
            values = new Values(random.split(), valueSize);
            this.warm = warm;
            this.start = start;
        }

        @Override
        public void run() {
            long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(1);
            for (int i = 0; i < WARM_UP && System.nanoTime() < end; i++) {
                operation();
            }
            warm.countDown();
            try {
                start.await();
            } catch (InterruptedException interrupted) {
                return;
            }
            int row = 0;
            for (int i = 0; i < latencies.length; i++) {
                if (row == GIVE_UP) {
                    errors += latencies.length - i;
                    return;
                }
                long sent = System.nanoTime();
                if (operation()) {
                    latencies[done++] = System.nanoTime() - sent;
                    row = 0;
                } else {
                    errors++;
                    row++;
                }
            }
        }

        /** Whether it succeeded: stored, or read with a value of the right size. */
        private boolean operation() {
            String path = paths[random.nextInt(paths.length)];
            try {
                if (set) {
                    connection.setData(path, values.next(), -1);
                    return true;
                }
                return connection.getData(path, false, (Stat) null).length == valueSize;
            } catch (KeeperException | InterruptedException error) {
                return false;
            }
        }
    }
}

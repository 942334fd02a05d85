import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.client.ZKClientConfig;

/**
 * Matrix TRUST KEYS PASSWORD [PORT,PROTOCOL,CERTIFICATE]...: a session over TLS on each port, with
 * the certificate of the client or (CERTIFICATE is "none") without; it creates a node and reads it.
 * Prints one line for each: the argument, and ok or what went wrong.
 */
public final class Matrix {
    public static void main(String[] args) {
        for (int at = 3; at < args.length; at++) {
            String outcome;
            try {
                outcome = visit(args, args[at].split(","));
            } catch (Exception e) {
                outcome = e.toString();
            }
            System.out.println(args[at] + " " + outcome);
        }
        System.exit(0);
    }

    private static String visit(String[] args, String[] one) throws Exception {
        ZKClientConfig config = new ZKClientConfig();
        config.setProperty("zookeeper.client.secure", "true");
        config.setProperty(
            "zookeeper.clientCnxnSocket", "org.apache.zookeeper.ClientCnxnSocketNetty");
        config.setProperty("zookeeper.ssl.protocol", one[1]);
        config.setProperty("zookeeper.ssl.enabledProtocols", one[1]);
        config.setProperty("zookeeper.ssl.trustStore.location", args[0]);
        config.setProperty("zookeeper.ssl.trustStore.password", args[2]);
        if (!one[2].equals("none")) {
            config.setProperty("zookeeper.ssl.keyStore.location", args[1]);
            config.setProperty("zookeeper.ssl.keyStore.password", args[2]);
        }
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeper client = new ZooKeeper("127.0.0.1:" + one[0], 20000, event -> {
            if (event.getState() == KeeperState.SyncConnected) {
                connected.countDown();
            }
        }, config);
        try {
            if (!connected.await(20, TimeUnit.SECONDS)) {
                return "no session";
            }
            String path = client.create("/java-", "data".getBytes("UTF-8"),
                ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_SEQUENTIAL);
            return new String(client.getData(path, false, null), "UTF-8").equals("data")
                ? "ok" : "other data";
        } finally {
            client.close();
        }
    }
}

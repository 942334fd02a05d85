import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.retry.RetryForever;

/** Says which servers Curator goes to, whenever that changes, until it is ended. */
public class Tracked {
    public static void main(String[] args) throws Exception {
        CuratorFramework client = CuratorFrameworkFactory.builder()
                .connectString(args[0])
                .sessionTimeoutMs(30000)
                .connectionTimeoutMs(10000)
                .retryPolicy(new RetryForever(200))
                .ensembleTracker(true)
                .build();
        client.start();
        client.blockUntilConnected();
        String before = "";
        while (true) {
            String now = client.getZookeeperClient().getCurrentConnectionString();
            if (!now.equals(before)) {
                System.out.println(now);
                before = now;
            }
            Thread.sleep(50);
        }
    }
}

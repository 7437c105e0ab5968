// `java Service.java CASE`: a service in one of the states of the scorecard of verdicts.

import com.sun.net.httpserver.HttpServer;
import java.io.FileOutputStream;
import java.net.InetSocketAddress;

public class Service {
    private static volatile long sink;

    public static void main(String[] arguments) throws Exception {
        switch (arguments[0]) {
            case "idle" -> HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0).start();
            case "compute" -> threads(2, Service::compute);
            case "monitor_hot" -> threads(4, Service::countUnderMonitor);
            case "monitor_across_sleep" -> threads(4, Service::sleepUnderMonitor);
            default -> throw new IllegalArgumentException(arguments[0]);
        }
        System.out.println("ready " + ProcessHandle.current().pid());
        Thread.sleep(Long.MAX_VALUE);
    }

    private static void threads(int count, Runnable work) {
        for (int index = 0; index < count; index++) {
            new Thread(work, "worker-" + index).start();
        }
    }

    private static void compute() {
        for (long number = 1; ; number = number * 6364136223846793005L + 1442695040888963407L) {
            if (number == 0) {
                sink = number;
            }
        }
    }

    private static void countUnderMonitor() {
        while (true) {
            synchronized (Service.class) {
                for (int index = 0; index < 2000; index++) {
                    sink++;
                }
            }
        }
    }

    private static void sleepUnderMonitor() {
        while (true) {
            synchronized (Service.class) {
                try {
                    Thread.sleep(5);
                } catch (InterruptedException interrupted) {
                    return;
                }
            }
        }
    }
}

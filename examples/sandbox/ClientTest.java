// How a client of FaR is tested with `nabar sandbox` and JUnit 4. With Debian's packages default-jdk-headless and junit4:
//
//   javac -cp /usr/share/java/junit4.jar -d classes ClientTest.java
//   NABAR=nabar java -cp classes:/usr/share/java/junit4.jar:/usr/share/java/hamcrest.jar org.junit.runner.JUnitCore ClientTest
//
// The client under test is the class Client below; put your own in its place.

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertThrows;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import org.junit.AfterClass;
import org.junit.Before;
import org.junit.BeforeClass;
import org.junit.Test;

public class ClientTest {
    static final String SENDER = "164821000025";

    /** The client under test. */
    static class Client {
        private final HttpClient http;
        private final URI address;

        Client(SSLContext tls, String address) {
            http = HttpClient.newBuilder().sslContext(tls).version(HttpClient.Version.HTTP_1_1).build();
            this.address = URI.create(address);
        }

        /** Whether a recipient accepts the sender. Technical faults and lost connections are tried again. */
        boolean accepts(String id) throws InterruptedException {
            String message = "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>"
                    + "<isReachable xmlns=\"http://minameddelanden.gov.se/schema/Recipient/v3\"><senderOrgNr>" + SENDER
                    + "</senderOrgNr><recipientId>" + id + "</recipientId></isReachable></s:Body></s:Envelope>";
            HttpRequest request = HttpRequest.newBuilder(address)
                    .header("Content-Type", "text/xml; charset=utf-8").POST(BodyPublishers.ofString(message)).build();
            for (int attempt = 0; attempt < 4; attempt++) {
                try {
                    HttpResponse<String> response = http.send(request, BodyHandlers.ofString());
                    Matcher code = Pattern.compile("ErrorCode>(\\d+)<").matcher(response.body());
                    if (code.find() && Integer.parseInt(code.group(1)) >= 5000) {
                        throw new IllegalArgumentException("FaR refuses the call with " + code.group(1));
                    }
                    if (response.statusCode() == 200 && response.body().contains("</return>")) {
                        return response.body().contains("SenderAccepted>true<");
                    }
                } catch (IOException lost) {
                    // Tried again.
                }
                Thread.sleep(50L << attempt);
            }
            throw new IllegalStateException("FaR does not answer");
        }
    }

    static Process process;
    static final Map<String, String> printed = new HashMap<>();
    static final HttpClient admin = HttpClient.newHttpClient();

    @BeforeClass
    public static void startSandbox() throws Exception {
        String nabar = System.getenv().getOrDefault("NABAR", "nabar");
        process = new ProcessBuilder(nabar, "sandbox", "--listen", "127.0.0.1:0", "--listen-plain", "127.0.0.1:0").start();
        BufferedReader lines = new BufferedReader(new InputStreamReader(process.getErrorStream()));
        for (String line = lines.readLine(); line != null && !printed.containsKey("ready"); line = lines.readLine()) {
            String[] parts = line.split("\\s+", 2);
            printed.put(parts[0], parts[1].trim());
            if (parts[0].equals("ready")) {
                break;
            }
        }
    }

    @AfterClass
    public static void endSandbox() throws Exception {
        process.destroy();
        process.waitFor();
    }

    static String sandbox(String method, String path, String body) throws Exception {
        URI address = URI.create(printed.get("ready").split(" ")[0] + path);
        HttpRequest request = HttpRequest.newBuilder(address).method(method, BodyPublishers.ofString(body)).build();
        return admin.send(request, BodyHandlers.ofString()).body();
    }

    static String recipient(String state) throws Exception {
        String found = sandbox("GET", "/recipients?register=far&limit=1&state=" + state, "");
        Matcher id = Pattern.compile("\\d{12}").matcher(found);
        id.find();
        return id.group();
    }

    static int calls() throws Exception {
        Matcher count = Pattern.compile("\"count\":(\\d+)").matcher(sandbox("GET", "/requests", ""));
        count.find();
        return Integer.parseInt(count.group(1));
    }

    static SSLContext tls(String who) throws Exception {
        Path files = Path.of(printed.get("files").split(":")[0]);
        CertificateFactory x509 = CertificateFactory.getInstance("X.509");
        KeyStore trusted = KeyStore.getInstance("PKCS12");
        trusted.load(null, null);
        trusted.setCertificateEntry("ca", x509.generateCertificate(Files.newInputStream(files.resolve("ca.pem"))));
        String pem = Files.readString(files.resolve(who + ".key")).replaceAll("-----.*-----|\\s", "");
        PKCS8EncodedKeySpec spec = new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem));
        PrivateKey key = KeyFactory.getInstance("EC").generatePrivate(spec);
        List<Certificate> chain =
                new ArrayList<>(x509.generateCertificates(Files.newInputStream(files.resolve(who + ".pem"))));
        KeyStore own = KeyStore.getInstance("PKCS12");
        own.load(null, null);
        own.setKeyEntry("key", key, new char[0], chain.toArray(new Certificate[0]));
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(trusted);
        KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(own, new char[0]);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        return context;
    }

    Client client;

    @Before
    public void clear() throws Exception {
        sandbox("DELETE", "/faults", "");
        sandbox("DELETE", "/requests", "");
        client = new Client(tls("sender"), printed.get("FaR"));
    }

    @Test
    public void acceptanceIsRead() throws Exception {
        assertEquals(true, client.accepts(recipient("digital")));
        assertEquals(false, client.accepts(recipient("declines-the-sender")));
    }

    @Test
    public void faultsThatPassAreTriedAgain() throws Exception {
        String[] faults = {
            "{\"soap_fault\": {\"code\": 4999}}", "{\"status\": {\"status\": 503}}", "{\"reset\": \"middle\"}"
        };
        for (String fault : faults) {
            sandbox("DELETE", "/requests", "");
            sandbox("PUT", "/faults", "[{\"times\": 2, \"fault\": " + fault + "}]");
            assertEquals(fault, true, client.accepts(recipient("digital")));
            assertEquals(fault, 3, calls());
        }
    }

    @Test
    public void aRefusalIsNotTriedAgain() throws Exception {
        sandbox("PUT", "/faults", "[{\"fault\": {\"soap_fault\": {\"code\": 5002}}}]");
        String id = recipient("digital");
        assertThrows(IllegalArgumentException.class, () -> client.accepts(id));
        assertEquals(1, calls());
    }
}

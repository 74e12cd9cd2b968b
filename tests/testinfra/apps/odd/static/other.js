console.log("aaaa");

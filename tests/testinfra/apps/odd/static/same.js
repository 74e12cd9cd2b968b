console.log("same");
